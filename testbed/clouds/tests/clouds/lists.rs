//! Pages, filters, order and links of lists.

use serde_json::{Value, json};

use crate::api::{Api, key};

fn names(list: &Value, field: &str) -> Vec<String> {
    let texts = list.as_array().unwrap().iter().map(|one| one[field].as_str().unwrap().to_owned());
    texts.collect()
}

#[test]
fn hetzners_pages_have_numbers_and_a_link_header() {
    let mut api = Api::hetzner();
    for number in 0..53 {
        api.post("/placement_groups", json!({"name": format!("g{number:02}"), "type": "spread"}));
        if number == 49 {
            break;
        }
    }
    for number in 0..3 {
        api.post("/ssh_keys", json!({"name": format!("k{number}"), "public_key": key(number)}));
    }
    let cases = [
        ("/placement_groups", 25, json!([1, 25, null, 2, 2, 50])),
        ("/placement_groups?page=2", 25, json!([2, 25, 1, null, 2, 50])),
        ("/placement_groups?per_page=50", 50, json!([1, 50, null, null, 1, 50])),
        ("/placement_groups?page=3", 0, json!([3, 25, 2, null, 2, 50])),
        ("/ssh_keys", 3, json!([1, 25, null, null, 1, 3])),
        ("/volumes", 0, json!([1, 25, null, null, 1, 0])),
    ];
    for (path, count, expected) in cases {
        let list = api.get(path);
        let page = &list["meta"]["pagination"];
        let fields = ["page", "per_page", "previous_page", "next_page", "last_page", "total_entries"];
        let found: Vec<&Value> = fields.iter().map(|field| &page[*field]).collect();
        assert_eq!(json!(found), expected, "{path}");
        let key = path.trim_start_matches('/').split('?').next().unwrap();
        assert_eq!(list[key].as_array().unwrap().len(), count, "{path}");
    }
    let link = api.send("GET", "/placement_groups?page=1", Value::Null).header("link").unwrap();
    assert!(link.contains("placement_groups?page=2&per_page=25>; rel=next"), "{link}");
    assert!(!link.contains("prev"), "{link}");
}

#[test]
fn hetzners_lists_are_filtered_and_sorted() {
    let mut api = Api::hetzner();
    for (name, role) in [("b", "db"), ("a", "web"), ("c", "db")] {
        api.new_server(name, json!({"labels": {"role": role}, "start_after_create": name == "a"}));
    }
    api.finish();
    let cases = [
        ("/servers", ["b", "a", "c"].as_slice()),
        ("/servers?sort=name", &["a", "b", "c"]),
        ("/servers?sort=name:desc", &["c", "b", "a"]),
        ("/servers?name=a", &["a"]),
        ("/servers?name=A", &[]),
        ("/servers?status=off&sort=name:asc", &["b", "c"]),
        ("/servers?status=off&status=running&sort=name", &["a", "b", "c"]),
        ("/servers?label_selector=role=db,role!=web", &["b", "c"]),
        ("/server_types?name=cax11", &["cax11"]),
        ("/locations?name=hel1", &["hel1"]),
        ("/images?architecture=arm&name=debian-13", &["debian-13"]),
        ("/images?name=debian-11&include_deprecated=true", &["debian-11"]),
        ("/images?name=debian-11", &[]),
    ];
    for (path, expected) in cases {
        let list = api.get(path);
        let key = path.trim_start_matches('/').split('?').next().unwrap();
        assert_eq!(names(&list[key], "name"), expected, "{path}");
    }
}

#[test]
fn digitaloceans_pages_have_absolute_links_that_keep_the_filters() {
    let mut api = Api::digitalocean();
    for number in 0..45 {
        api.post("/tags", json!({"name": format!("t{number:02}")}));
    }
    let base = "https://api.digitalocean.invalid/v2/tags";
    let cases = [
        ("/tags", 20, json!({"next": format!("{base}?page=2"), "last": format!("{base}?page=3")})),
        (
            "/tags?page=2",
            20,
            json!({"first": format!("{base}?page=1"), "prev": format!("{base}?page=1"),
                "next": format!("{base}?page=3"), "last": format!("{base}?page=3")}),
        ),
        (
            "/tags?page=2&per_page=40",
            5,
            json!({"first": format!("{base}?per_page=40&page=1"), "prev": format!("{base}?per_page=40&page=1")}),
        ),
    ];
    for (path, count, pages) in cases {
        let list = api.get(path);
        assert_eq!(list["links"]["pages"], pages, "{path}");
        assert_eq!((list["tags"].as_array().unwrap().len(), &list["meta"]["total"]), (count, &json!(45)), "{path}");
    }
    assert_eq!(api.get("/tags?per_page=200")["links"], json!({}));
    api.settings(json!({"settings": {"links_origin": "http://127.0.0.1:9"}}));
    assert_eq!(api.get("/tags")["links"]["pages"]["next"], "http://127.0.0.1:9/v2/tags?page=2");
}

#[test]
fn droplets_are_listed_by_tag_and_by_name() {
    let mut api = Api::digitalocean();
    for (name, tag) in [("a", "machinist:x"), ("b", "machinist:x"), ("a", "machinist:y")] {
        api.droplet(name, json!({"tags": [tag]}));
    }
    for (path, expected) in [
        ("/droplets?tag_name=machinist:x", ["a", "b"].as_slice()),
        ("/droplets?name=a", &["a", "a"]),
        ("/droplets?tag_name=machinist:z", &[]),
    ] {
        assert_eq!(names(&api.get(path)["droplets"], "name"), expected, "{path}");
    }
}
