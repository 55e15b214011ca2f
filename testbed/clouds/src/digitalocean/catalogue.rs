//! Regions, sizes and images: made up, in `catalogue/digitalocean.json`.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::errors::{missing, refused};
use super::list::list;
use super::{DigitalOcean, Rules};
use crate::message::{Call, Handled, Problem, Reply};
use crate::route::Route;

/// Endpoints.
pub const ROUTES: &[Route<DigitalOcean>] = &[
    ("GET", "/v2/regions", regions),
    ("GET", "/v2/sizes", sizes),
    ("GET", "/v2/images", images),
    ("GET", "/v2/images/{image_id}", image),
    ("DELETE", "/v2/images/{image_id}", delete_image),
];

/// The data file.
#[derive(Debug, Default, Deserialize)]
pub struct Catalogue {
    regions: Vec<Region>,
    sizes: Vec<Size>,
    images: Vec<SystemImage>,
}

#[derive(Debug, Deserialize)]
struct Region {
    slug: String,
    name: String,
}

/// A size.
#[derive(Debug, Deserialize)]
pub struct Size {
    /// Such as `s-1vcpu-1gb`.
    pub slug: String,
    /// In MB.
    pub memory: u64,
    /// Virtual processors.
    pub vcpus: u64,
    /// In GB.
    pub disk: u64,
    transfer: f64,
    price_monthly: f64,
    description: String,
    /// Slugs.
    pub regions: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct SystemImage {
    id: u64,
    slug: String,
    name: String,
    distribution: String,
}

/// An image of the provider, or a snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Image {
    /// Unique.
    pub id: u64,
    /// Those of the provider have one.
    pub slug: Option<String>,
    /// For people.
    pub name: String,
    /// Such as `Debian`.
    pub distribution: String,
    /// Slugs of the regions that have it; every region if that is empty.
    pub regions: Vec<String>,
}

impl Image {
    /// The form of answers.
    pub fn json(&self) -> Value {
        let everywhere: Vec<&str> = Catalogue::get().regions.iter().map(|region| region.slug.as_str()).collect();
        let regions = if self.regions.is_empty() { json!(everywhere) } else { json!(self.regions) };
        json!({
            "id": self.id,
            "name": self.name,
            "distribution": self.distribution,
            "slug": self.slug,
            "public": self.slug.is_some(),
            "regions": regions,
            "created_at": "2026-01-01T00:00:00Z",
            "min_disk_size": 7,
            "type": if self.slug.is_some() { "base" } else { "snapshot" },
            "size_gigabytes": 0.7,
            "description": format!("{} {}", self.distribution, self.name),
            "tags": [],
            "status": "available",
        })
    }
}

impl Catalogue {
    /// The data file, read once. A test reads it, so it is never the empty default.
    pub fn get() -> &'static Catalogue {
        static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();
        let text = include_str!("../../catalogue/digitalocean.json");
        CATALOGUE.get_or_init(|| serde_json::from_str(text).unwrap_or_default())
    }

    /// The images of the provider, by id.
    pub fn images(&self) -> BTreeMap<u64, Image> {
        let image = |image: &SystemImage| Image {
            id: image.id,
            slug: Some(image.slug.clone()),
            name: image.name.clone(),
            distribution: image.distribution.clone(),
            regions: Vec::new(),
        };
        self.images.iter().map(|one| (one.id, image(one))).collect()
    }

    /// The size of this slug.
    pub fn size(&self, slug: &str) -> Option<&Size> {
        self.sizes.iter().find(|size| size.slug == slug)
    }

    /// Refuses an unknown region.
    ///
    /// # Errors
    ///
    /// 422 `unprocessable_entity`.
    pub fn known_region(&self, slug: &str) -> Result<(), Problem> {
        match self.regions.iter().any(|region| region.slug == slug) {
            true => Ok(()),
            false => Err(refused(&format!("region: {slug} does not exist"))),
        }
    }

    /// The position of a region.
    pub fn region_number(&self, slug: &str) -> usize {
        self.regions.iter().position(|region| region.slug == slug).unwrap_or_default()
    }

    /// A region in the form of answers.
    pub fn region_json(&self, slug: &str) -> Value {
        let Some(region) = self.regions.iter().find(|region| region.slug == slug) else { return Value::Null };
        let sizes = self.sizes.iter().filter(|size| size.regions.contains(&region.slug));
        json!({
            "name": region.name,
            "slug": region.slug,
            "features": ["backups", "ipv6", "metadata", "install_agent", "storage", "image_transfer"],
            "sizes": sizes.map(|size| &size.slug).collect::<Vec<_>>(),
            "available": true,
        })
    }

    /// A size in the form of answers: only regions with stock are in its list.
    pub fn size_json(&self, size: &Size, rules: &Rules) -> Value {
        let stock = |region: &&String| !rules.sold_out.contains(&(size.slug.clone(), (*region).clone()));
        let regions: Vec<&String> = size.regions.iter().filter(stock).collect();
        json!({
            "slug": size.slug,
            "memory": size.memory,
            "vcpus": size.vcpus,
            "disk": size.disk,
            "transfer": size.transfer,
            "price_monthly": size.price_monthly,
            "price_hourly": (size.price_monthly / 672.0 * 100_000.0).round() / 100_000.0,
            "regions": regions,
            "available": !regions.is_empty(),
            "description": size.description,
        })
    }
}

impl DigitalOcean {
    /// The image of an id or slug, in a region.
    ///
    /// # Errors
    ///
    /// 422 `unprocessable_entity`.
    pub fn image_for(&self, wanted: &Value, region: &str) -> Result<u64, Problem> {
        let image = self.images.values().find(|image| is_image(image, wanted));
        let usable = |image: &&Image| image.regions.is_empty() || image.regions.iter().any(|one| one == region);
        image.filter(usable).map(|image| image.id).ok_or_else(|| refused("image: it does not exist in this region"))
    }
}

fn is_image(image: &Image, wanted: &Value) -> bool {
    match wanted {
        Value::Number(number) => number.as_u64() == Some(image.id),
        Value::String(text) => image.slug.as_ref() == Some(text) || image.id.to_string() == *text,
        _ => false,
    }
}

fn regions(_: &mut DigitalOcean, call: &Call) -> Handled {
    let catalogue = Catalogue::get();
    list(call, "regions", catalogue.regions.iter().map(|region| catalogue.region_json(&region.slug)).collect())
}

fn sizes(state: &mut DigitalOcean, call: &Call) -> Handled {
    let catalogue = Catalogue::get();
    list(call, "sizes", catalogue.sizes.iter().map(|size| catalogue.size_json(size, &state.rules)).collect())
}

fn images(state: &mut DigitalOcean, call: &Call) -> Handled {
    let private = call.query["private"] == true;
    let chosen = state.images.values().filter(|image| {
        let public = image.slug.is_some();
        let kind = call.query_text("type").is_none_or(|kind| kind == "distribution" && public);
        kind && !(private && public) && call.query_text("tag_name").is_none()
    });
    list(call, "images", chosen.map(Image::json).collect())
}

fn image(state: &mut DigitalOcean, call: &Call) -> Handled {
    let wanted = Value::String(call.parameter(0).to_owned());
    let image = state.images.values().find(|image| is_image(image, &wanted));
    Ok(Reply::json(200, json!({"image": image.ok_or_else(|| missing("image"))?.json()})))
}

fn delete_image(state: &mut DigitalOcean, call: &Call) -> Handled {
    let wanted = Value::String(call.parameter(0).to_owned());
    let image = state.images.values().find(|image| is_image(image, &wanted)).ok_or_else(|| missing("image"))?;
    if image.slug.is_some() {
        return Err(Problem::new(403, "forbidden", "images of the provider cannot be deleted"));
    }
    let id = image.id;
    state.images.remove(&id);
    Ok(Reply::empty())
}
