//! Pictures of a small cluster.
#![allow(clippy::unwrap_used, missing_docs)]

use expect_test::{expect, expect_file};
use machinist_model::{NodeName, fixtures};
use machinist_topology::{Topology, picture::Format, topology::Health};

fn live() -> Topology {
    let mut topology = Topology::new(&fixtures::ha_kubernetes(), None);
    let says = [("cp1", true, "up"), ("cp2", false, "failed: a<b>&\"c\".service"), ("w1", true, "up")];
    for (name, healthy, says) in says {
        topology.health.insert(NodeName::parse(name).unwrap(), Health { healthy, says: says.to_owned() });
    }
    topology
}

#[test]
fn dot() {
    expect![[r##"
        digraph "magi" {
          node [shape=box, fontname="sans-serif"];
          "outside clients" [label="clients", shape=plaintext];
          "service etcd" [label="etcd\n2 of 3 voters\nmay fail: 1 machine", style=rounded];
          "service Kubernetes API" [label="Kubernetes API\n1 of 3 control planes, 2 of 3 voters\nmay fail: 1 machine", style=rounded];
          "service API at 10.13.100.1" [label="API at 10.13.100.1\n1 of 3 control planes, 2 of 3 voters, 1 of 1 Router\nmay fail: 0 machines", style=rounded];
          "service pods" [label="pods\n1 of 4 machines\nmay fail: 3 machines", style=rounded];
          "machine cp1" [label="cp1\n10.13.13.2\ncontrol-plane etcd worker\nup", color="#1a7f37"];
          "machine cp2" [label="cp2\n10.13.13.3\ncontrol-plane etcd worker\nfailed: a<b>&\"c\".service", color="#cf222e", penwidth=2];
          "machine cp3" [label="cp3\n10.13.13.4\ncontrol-plane etcd worker"];
          "machine router" [label="router\n10.13.13.1\nnot deployed"];
          "machine w1" [label="w1\n10.13.13.5\nworker\nup", color="#1a7f37"];
          "outside clients" -> "machine router";
          "machine router" -> "service API at 10.13.100.1";
          "service API at 10.13.100.1" -> "service Kubernetes API";
          "service Kubernetes API" -> "service etcd";
          "service etcd" -> "machine cp1" [style=dotted, arrowhead=none];
          "service etcd" -> "machine cp2" [style=dotted, arrowhead=none];
          "service etcd" -> "machine cp3" [style=dotted, arrowhead=none];
          "service Kubernetes API" -> "machine cp1" [style=dotted, arrowhead=none];
          "service Kubernetes API" -> "machine cp2" [style=dotted, arrowhead=none];
          "service Kubernetes API" -> "machine cp3" [style=dotted, arrowhead=none];
          "service API at 10.13.100.1" -> "machine cp1" [style=dotted, arrowhead=none];
          "service API at 10.13.100.1" -> "machine cp2" [style=dotted, arrowhead=none];
          "service API at 10.13.100.1" -> "machine cp3" [style=dotted, arrowhead=none];
          "service API at 10.13.100.1" -> "machine router" [style=dotted, arrowhead=none];
          "service pods" -> "machine cp1" [style=dotted, arrowhead=none];
          "service pods" -> "machine cp2" [style=dotted, arrowhead=none];
          "service pods" -> "machine cp3" [style=dotted, arrowhead=none];
          "service pods" -> "machine w1" [style=dotted, arrowhead=none];
        }
    "##]].assert_eq(&Format::Dot.draw(&live()));
}

#[test]
fn mermaid() {
    expect![[r#"
        flowchart TB
          o0(["clients"])
          s1("etcd<br/>2 of 3 voters<br/>may fail: 1 machine")
          s2("Kubernetes API<br/>1 of 3 control planes, 2 of 3 voters<br/>may fail: 1 machine")
          s3("API at 10.13.100.1<br/>1 of 3 control planes, 2 of 3 voters, 1 of 1 Router<br/>may fail: 0 machines")
          s4("pods<br/>1 of 4 machines<br/>may fail: 3 machines")
          m5["cp1<br/>10.13.13.2<br/>control-plane etcd worker<br/>up"]
          m6["cp2<br/>10.13.13.3<br/>control-plane etcd worker<br/>failed: a#lt;b#gt;&#quot;c#quot;.service"]
          m7["cp3<br/>10.13.13.4<br/>control-plane etcd worker"]
          m8["router<br/>10.13.13.1<br/>not deployed"]
          m9["w1<br/>10.13.13.5<br/>worker<br/>up"]
          o0 --> m8
          m8 --> s3
          s3 --> s2
          s2 --> s1
          s1 -.- m5
          s1 -.- m6
          s1 -.- m7
          s2 -.- m5
          s2 -.- m6
          s2 -.- m7
          s3 -.- m5
          s3 -.- m6
          s3 -.- m7
          s3 -.- m8
          s4 -.- m5
          s4 -.- m6
          s4 -.- m7
          s4 -.- m9
          classDef good stroke:#1a7f37,stroke-width:2px
          classDef bad stroke:#cf222e,stroke-width:3px
          class m5 good
          class m6 bad
          class m9 good
    "#]]
    .assert_eq(&Format::Mermaid.draw(&live()));
}

#[test]
fn svg() {
    expect_file!["pictures.svg"].assert_eq(&Format::Svg.draw(&live()));
}

#[test]
fn a_unit_name_of_a_host_is_only_text_in_every_picture() {
    assert!(Format::Svg.draw(&live()).contains("failed: a&lt;b&gt;&amp;&quot;"));
    assert!(Format::Dot.draw(&live()).contains(r#"a<b>&\"c\""#));
    assert!(Format::Mermaid.draw(&live()).contains("a#lt;b#gt;&#quot;c#quot;"));
}

#[test]
fn what_xml_cannot_write_is_replaced() {
    let mut topology = live();
    topology.cluster = "a\u{1b}[2Jb".to_owned();
    let svg = Format::Svg.draw(&topology);
    assert!(svg.contains("a\u{fffd}[2Jb") && !svg.contains('\u{1b}'));
}
