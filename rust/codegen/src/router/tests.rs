//! Configurations in each language.

#![allow(clippy::unwrap_used)]
use expect_test::{Expect, expect, expect_file};
use machinist_model::{Cluster, LoadBalancer, Vip, fixtures};

use super::{Format, Password, RouterError, config};

#[track_caller]
fn check(format: Format, expect: Expect) {
    expect.assert_eq(&config(&fixtures::ha_kubernetes(), format, Password::LeftOut).unwrap());
}

#[test]
fn frr_takes_the_address_from_every_control_plane() {
    check(
        Format::Frr,
        expect![[r#"
        ! The API's virtual address 10.13.100.1, from the control planes. Made by `machinist router-config`.
        ip prefix-list MACHINIST-VIP seq 10 permit 10.13.100.1/32
        !
        route-map MACHINIST-IN permit 10
         match ip address prefix-list MACHINIST-VIP
        exit
        !
        route-map MACHINIST-OUT deny 10
        exit
        !
        router bgp 64513
         bgp router-id 10.13.13.1
         bgp bestpath as-path multipath-relax
         neighbor MACHINIST peer-group
         neighbor MACHINIST remote-as 64512
         neighbor MACHINIST passive
         neighbor MACHINIST timers 1 4
         neighbor 10.13.13.2 peer-group MACHINIST
         neighbor 10.13.13.2 description cp1
         neighbor 10.13.13.3 peer-group MACHINIST
         neighbor 10.13.13.3 description cp2
         neighbor 10.13.13.4 peer-group MACHINIST
         neighbor 10.13.13.4 description cp3
         !
         address-family ipv4 unicast
          neighbor MACHINIST activate
          neighbor MACHINIST route-map MACHINIST-IN in
          neighbor MACHINIST route-map MACHINIST-OUT out
          maximum-paths 3
         exit-address-family
        exit
    "#]],
    );
}

/// `modules/router.nix` generates the same for a managed Router: `tests/modules/cases/router.sh` compares it with this
/// file.
#[test]
fn bird_takes_the_address_from_every_control_plane() {
    let text = config(&fixtures::ha_kubernetes(), Format::Bird, Password::LeftOut).unwrap();
    expect_file!["../../../../tests/modules/router/bird.conf"].assert_eq(&text);
}

#[test]
fn vyos_takes_the_address_from_every_control_plane() {
    check(
        Format::Vyos,
        expect![[r#"
        set policy prefix-list MACHINIST-VIP rule 10 action permit
        set policy prefix-list MACHINIST-VIP rule 10 prefix 10.13.100.1/32
        set policy route-map MACHINIST-IN rule 10 action permit
        set policy route-map MACHINIST-IN rule 10 match ip address prefix-list MACHINIST-VIP
        set policy route-map MACHINIST-OUT rule 10 action deny
        set protocols bgp system-as 64513
        set protocols bgp parameters bestpath as-path multipath-relax
        set protocols bgp parameters router-id 10.13.13.1
        set protocols bgp address-family ipv4-unicast maximum-paths ebgp 3
        set protocols bgp peer-group MACHINIST remote-as 64512
        set protocols bgp peer-group MACHINIST passive
        set protocols bgp peer-group MACHINIST address-family ipv4-unicast route-map import MACHINIST-IN
        set protocols bgp peer-group MACHINIST address-family ipv4-unicast route-map export MACHINIST-OUT
        set protocols bgp neighbor 10.13.13.2 peer-group MACHINIST
        set protocols bgp neighbor 10.13.13.2 description cp1
        set protocols bgp neighbor 10.13.13.2 timers keepalive 1
        set protocols bgp neighbor 10.13.13.2 timers holdtime 4
        set protocols bgp neighbor 10.13.13.3 peer-group MACHINIST
        set protocols bgp neighbor 10.13.13.3 description cp2
        set protocols bgp neighbor 10.13.13.3 timers keepalive 1
        set protocols bgp neighbor 10.13.13.3 timers holdtime 4
        set protocols bgp neighbor 10.13.13.4 peer-group MACHINIST
        set protocols bgp neighbor 10.13.13.4 description cp3
        set protocols bgp neighbor 10.13.13.4 timers keepalive 1
        set protocols bgp neighbor 10.13.13.4 timers holdtime 4
    "#]],
    );
}

#[test]
fn without_bgp_there_is_nothing_to_configure() {
    let mut cluster = fixtures::ha_kubernetes();
    cluster.kube_master.as_mut().unwrap().vip = Vip::Arp;
    assert_eq!(config(&cluster, Format::Frr, Password::LeftOut), Err(RouterError::NoBgp));
    cluster.kube_master = None;
    assert_eq!(config(&cluster, Format::Bird, Password::LeftOut), Err(RouterError::NoBgp));
}

#[test]
fn an_address_of_another_family_is_refused() {
    let mut cluster = fixtures::ha_kubernetes();
    cluster.kube_master.as_mut().unwrap().ip = "fd00::1".parse().unwrap();
    assert!(matches!(config(&cluster, Format::Frr, Password::LeftOut), Err(RouterError::Family { .. })));
}

#[test]
fn the_password_is_only_shown_on_request() {
    let mut cluster = fixtures::ha_kubernetes();
    let line = |cluster: &Cluster, format, password| {
        let text = config(cluster, format, password).unwrap();
        text.lines().find(|line| line.contains("password")).map(|line| line.trim().to_owned())
    };
    assert_eq!(line(&cluster, Format::Frr, Password::Shown("f00d")), None, "without a password");
    if let Vip::Bgp { password, .. } = &mut cluster.kube_master.as_mut().unwrap().vip {
        *password = true;
    }
    for (format, shown, left_out) in [
        (
            Format::Frr,
            "neighbor MACHINIST password f00d",
            "! neighbor MACHINIST password ... (machinist router-config --show-password)",
        ),
        (Format::Bird, "password \"f00d\";", "# password ... (machinist router-config --show-password)"),
        (
            Format::Vyos,
            "set protocols bgp peer-group MACHINIST password 'f00d'",
            "# set protocols bgp peer-group MACHINIST password ... (machinist router-config --show-password)",
        ),
    ] {
        assert_eq!(line(&cluster, format, Password::Shown("f00d")).as_deref(), Some(shown));
        assert_eq!(line(&cluster, format, Password::LeftOut).as_deref(), Some(left_out));
    }
}

fn with_services(pool: &[&str]) -> Cluster {
    let mut cluster = fixtures::ha_kubernetes();
    let pool = pool.iter().map(|text| text.parse().unwrap()).collect();
    cluster.objects.load_balancer = Some(LoadBalancer { pool, image: "kube-vip-cloud-provider:1".to_owned() });
    cluster
}

/// Returns the lines that the configuration has only with these addresses of Services.
fn added(format: Format, pool: &[&str]) -> Vec<String> {
    let without = config(&fixtures::ha_kubernetes(), format, Password::LeftOut).unwrap();
    let with = config(&with_services(pool), format, Password::LeftOut).unwrap();
    let lines = with.lines().filter(|line| !without.lines().any(|other| other == *line));
    lines.map(|line| line.trim().to_owned()).collect()
}

#[test]
fn single_addresses_of_services_are_accepted_too() {
    let pool = ["10.13.101.0/24", "10.13.102.7-10.13.102.8"];
    assert_eq!(
        added(Format::Bird, &pool),
        ["if net ~ [ 10.13.101.0/24{32,32}, 10.13.102.7/32{32,32}, 10.13.102.8/32{32,32} ] then accept;"]
    );
    assert_eq!(
        added(Format::Frr, &pool),
        [
            "ip prefix-list MACHINIST-VIP seq 20 permit 10.13.101.0/24 ge 32 le 32",
            "ip prefix-list MACHINIST-VIP seq 30 permit 10.13.102.7/32",
            "ip prefix-list MACHINIST-VIP seq 40 permit 10.13.102.8/32",
        ]
    );
    assert_eq!(
        added(Format::Vyos, &["10.13.101.0/24", "10.13.102.7/32"]),
        [
            "set policy prefix-list MACHINIST-VIP rule 20 action permit",
            "set policy prefix-list MACHINIST-VIP rule 20 prefix 10.13.101.0/24",
            "set policy prefix-list MACHINIST-VIP rule 20 ge 32",
            "set policy prefix-list MACHINIST-VIP rule 20 le 32",
            "set policy prefix-list MACHINIST-VIP rule 30 action permit",
            "set policy prefix-list MACHINIST-VIP rule 30 prefix 10.13.102.7/32",
        ]
    );
}
