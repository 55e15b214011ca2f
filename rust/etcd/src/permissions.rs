//! etcd users and roles of a service mesh, and the records that operators keep there.
//!
//! etcd uses the CN of a client's certificate as its user. Operators and the members' own `etcdctl` are root; the agent
//! of a node reads the mesh's data and writes below its own node's prefix only. flannel reads the overlay's data and
//! writes the key of its node's subnet only.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use machinist_mesh::{Group, Key, Name, NodeRecord, PREFIX, SCHEMA, Transaction, VERSION, node_instances};
use machinist_model::Cluster;
use serde::Deserialize;
use thiserror::Error;

use crate::overlay::{self, Overlay};

/// Users and roles with one of these prefixes are deleted with their node.
const AGENT: &str = "mesh-agent-";
const FLANNEL: &str = "mesh-flannel-";

/// The key of the last applied state: the digest of the rules, and etcd's auth revision afterwards.
const MARK: &str = "/machinist/permissions";

/// The users with all permissions: `root`, which etcd requires, the operators' certificate and the members' own.
const ROOTS: [&str; 3] = ["root", "etcd-operator", "kube-etcd-healthcheck-client"];

/// Queries a member's current state: five lines of JSON, plus one for each user and role unless the wanted state was
/// already applied last. Input variables: mark (the key) and wanted (the digest).
pub const PROBE: &str = "\
export PATH=/run/current-system/sw/bin:$PATH
etc() { machinist-etcdctl --command-timeout=10s --dial-timeout=3s \"$@\"; }
status=$(etc auth status) || exit 3
case $status in *'Status: true'*) enabled=true ;; *) enabled=false ;; esac
echo \"{\\\"enabled\\\":$enabled,\\\"revision\\\":${status##*AuthRevision: }}\"
etc get --write-out=json \"$mark\" || exit 3
etc get --write-out=json --prefix /cluster/nodes/ || exit 3
etc get --write-out=json /cluster/schema || exit 3
etc get --write-out=json --prefix /coreos.com/network/ || exit 3
[ \"$enabled $(etc get --print-value-only \"$mark\")\" = \"true $wanted ${status##*AuthRevision: }\" ] && exit 0
users=$(etc user list) && roles=$(etc role list) || exit 3
for user in $users; do echo \"{\\\"user\\\":\\\"$user\\\",\\\"answer\\\":$(etc user get \"$user\" --write-out=json)}\" || exit 3; done
for role in $roles; do
  [ \"$role\" = root ] || echo \"{\\\"role\\\":\\\"$role\\\",\\\"answer\\\":$(etc role get \"$role\" --write-out=json)}\" || exit 3
done
";

/// Permission of a role on a range of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(from = "u8")]
enum Kind {
    Read,
    Write,
    ReadWrite,
}

impl From<u8> for Kind {
    /// Converts etcd's `Permission.Type`.
    fn from(number: u8) -> Self {
        match number {
            0 => Self::Read,
            1 => Self::Write,
            _ => Self::ReadWrite,
        }
    }
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::ReadWrite => "readwrite",
        }
    }
}

/// First key and exclusive end of a range; an empty end for a single key.
type Range = (Vec<u8>, Vec<u8>);
type Role = BTreeMap<Range, Kind>;

/// The desired state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    users: BTreeMap<String, String>,
    roles: BTreeMap<String, Role>,
    records: BTreeMap<String, String>,
    overlay: Option<Overlay>,
}

/// The current state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    enabled: bool,
    revision: u64,
    mark: String,
    users: BTreeMap<String, BTreeSet<String>>,
    roles: BTreeMap<String, Role>,
    records: BTreeMap<String, (String, i64)>,
    network: BTreeMap<String, (String, i64)>,
}

/// Error in etcdctl's output.
#[derive(Debug, Error)]
pub enum PermissionsError {
    /// The output is not valid JSON of the expected form.
    #[error("invalid output of etcdctl")]
    Format(#[source] serde_json::Error),
    /// Lines are missing.
    #[error("truncated output of etcdctl")]
    Short,
}

impl Rules {
    /// Returns the desired state of the cluster, or `None` if it has no mesh.
    #[must_use]
    pub fn of(cluster: &Cluster) -> Option<Self> {
        cluster.mesh_nodes().next()?;
        let mut rules = Self {
            users: ROOTS.iter().map(|user| ((*user).to_owned(), "root".to_owned())).collect(),
            roles: BTreeMap::new(),
            records: [(SCHEMA.to_owned(), format!("{{\"version\":{VERSION}}}"))].into(),
            overlay: Overlay::of(cluster),
        };
        for node in cluster.mesh_nodes() {
            let agent = format!("{AGENT}{}", node.name);
            let role = [
                (prefix(PREFIX), Kind::Read),
                (prefix(overlay::PREFIX), Kind::Read),
                (prefix(&node_instances(node.name.as_str())), Kind::ReadWrite),
            ];
            rules.roles.insert(agent.clone(), role.into());
            rules.users.insert(agent.clone(), agent);
            if let (Some(overlay), IpAddr::V4(ip)) = (&rules.overlay, node.ip)
                && let Some(key) = overlay.key_of(ip)
            {
                let flannel = format!("{FLANNEL}{}", node.name);
                let role = [(prefix(overlay::PREFIX), Kind::Read), (one(key), Kind::ReadWrite)];
                rules.roles.insert(flannel.clone(), role.into());
                rules.users.insert(flannel.clone(), flannel);
            }
            if let Ok(name) = Name::parse(node.name.as_str()) {
                let groups = node.mesh_groups().into_iter().filter_map(Group::parse).collect();
                let record = NodeRecord { name: name.clone(), address: node.ip, groups };
                rules.records.insert(Key::Node(name).to_string(), record.write());
            }
        }
        Some(rules)
    }

    /// Returns the input variables of [`PROBE`].
    #[must_use]
    pub fn variables(&self) -> [(&'static str, String); 2] {
        [("mark", MARK.to_owned()), ("wanted", self.digest())]
    }

    /// Returns the script that applies the desired state, or `None` if nothing differs. It only changes what differs,
    /// so it may be interrupted at any point and repeated.
    #[must_use]
    pub fn script(&self, found: &Found) -> Option<String> {
        let records = self.records_to_write(found);
        let holds = found.enabled && found.mark == format!("{} {}", self.digest(), found.revision);
        if holds && records.is_empty() {
            return None;
        }
        let mut lines = Vec::new();
        if !holds {
            self.grant(found, &mut lines);
            self.clean(found, &mut lines);
        }
        if !found.enabled {
            lines.push("etc auth enable".to_owned());
        }
        let mut script = script_of(&lines, &records);
        let _ = write!(
            script,
            "status=$(machinist-etcdctl --command-timeout=10s --dial-timeout=3s auth status)\n\
             etc put '{MARK}' \"{} ${{status##*AuthRevision: }}\"\n",
            self.digest()
        );
        Some(script)
    }

    /// Returns the script that must run before nodes change, or `None` if nothing is missing: permissions of nodes that
    /// etcd does not know yet, and the overlay's configuration if there is none. Existing entries stay, since nodes
    /// still use them; if authentication is disabled, it stays disabled.
    #[must_use]
    pub fn welcome(&self, found: &Found) -> Option<String> {
        let mut lines = Vec::new();
        let holds = found.mark == format!("{} {}", self.digest(), found.revision);
        if found.enabled && !holds {
            let mut new = self.clone();
            new.users.retain(|user, _| !found.users.contains_key(user));
            new.roles.retain(|role, _| new.users.contains_key(role));
            new.grant(found, &mut lines);
        }
        let overlay = self.overlay.as_ref().filter(|_| !found.network.contains_key(overlay::CONFIG));
        let records: Vec<Transaction> = overlay
            .map(|overlay| Transaction::write(overlay::CONFIG.to_owned(), overlay.config.clone(), 0, 0))
            .into_iter()
            .collect();
        (!lines.is_empty() || !records.is_empty()).then(|| script_of(&lines, &records))
    }

    /// Returns the nodes whose agents have no user in etcd yet. Empty if authentication is disabled.
    #[must_use]
    pub fn newcomers(&self, found: &Found) -> Vec<String> {
        let holds = found.mark == format!("{} {}", self.digest(), found.revision);
        let users = self.users.keys().filter(|user| found.enabled && !holds && !found.users.contains_key(*user));
        users.filter_map(|user| user.strip_prefix(AGENT)).map(str::to_owned).collect()
    }

    fn grant(&self, found: &Found, lines: &mut Vec<String>) {
        for (name, role) in &self.roles {
            let none = Role::new();
            let has = found.roles.get(name);
            if has.is_none() {
                lines.push(format!("etc role add '{name}'"));
            }
            let has = has.unwrap_or(&none);
            for ((from, end), kind) in role.iter().filter(|(range, kind)| has.get(*range) != Some(*kind)) {
                lines.push(format!(
                    "etc role grant-permission '{name}' {} {}",
                    kind.as_str(),
                    range_arguments(from, end)
                ));
            }
            for (from, end) in has.keys().filter(|range| !role.contains_key(*range)) {
                lines.push(format!("etc role revoke-permission '{name}' {}", range_arguments(from, end)));
            }
        }
        for (user, role) in &self.users {
            let has = found.users.get(user);
            if has.is_none() {
                lines.push(format!("etc user add '{user}' --no-password"));
            }
            if role == "root" && user == "root" && has.is_none() {
                // Some versions of etcd create the role with the user, others do not.
                lines.push("etc role add root 2>/dev/null || true".to_owned());
            }
            if !has.is_some_and(|roles| roles.contains(role)) {
                lines.push(format!("etc user grant-role '{user}' '{role}'"));
            }
        }
    }

    /// Deletes users and roles of removed nodes.
    fn clean(&self, found: &Found, lines: &mut Vec<String>) {
        let is_ours = |name: &&String| [AGENT, FLANNEL].iter().any(|prefix| name.starts_with(prefix));
        for user in found.users.keys().filter(is_ours).filter(|user| !self.users.contains_key(*user)) {
            lines.push(format!("etc user delete {}", quote(user)));
        }
        for role in found.roles.keys().filter(is_ours).filter(|role| !self.roles.contains_key(*role)) {
            lines.push(format!("etc role delete {}", quote(role)));
        }
    }

    fn records_to_write(&self, found: &Found) -> Vec<Transaction> {
        let mut transactions = Vec::new();
        for (text, value) in &self.records {
            let has = found.records.get(text);
            if has.is_none_or(|(has, _)| has != value)
                && let Some(key) = Key::parse(text)
            {
                transactions.push(Transaction::put(&key, value.clone(), has.map_or(0, |(_, revision)| *revision), 0));
            }
        }
        if let Some(overlay) = &self.overlay {
            transactions.extend(self.overlay_to_write(overlay, found));
        }
        // A record without a version was written by nix-infra: that cluster may still need it.
        let is_gone = |(key, (value, _)): &(&String, &(String, i64))| {
            !self.records.contains_key(*key) && value.contains("\"version\":")
        };
        let gone = found.records.iter().filter(is_gone);
        transactions.extend(gone.map(|(key, (_, revision))| Transaction::withdraw(key.clone(), *revision)));
        transactions
    }

    /// Writes the overlay's configuration if it differs, and deletes conflicting leases. A flannel whose lease is
    /// deleted exits, and takes the right subnet at its next start. flannel only reads its configuration at its start:
    /// if that differs, all leases are deleted, so that all nodes change at the same time.
    fn overlay_to_write(&self, overlay: &Overlay, found: &Found) -> Vec<Transaction> {
        let mut transactions = Vec::new();
        let has = found.network.get(overlay::CONFIG);
        let changes = !has.is_some_and(|(has, _)| overlay.is_config(has));
        if changes {
            let known = has.map_or(0, |(_, revision)| *revision);
            transactions.push(Transaction::write(overlay::CONFIG.to_owned(), overlay.config.clone(), known, 0));
        }
        let removed = found.records.iter().filter(|(key, _)| !self.records.contains_key(*key));
        let gone: Vec<Ipv4Addr> = removed
            .filter_map(|(_, (value, _))| match NodeRecord::read(value.as_bytes()).ok()?.address {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            })
            .collect();
        let stale = found
            .network
            .iter()
            .filter(|(key, (value, _))| overlay.is_stale(key, value, &gone) || changes && overlay.is_ours(key, value));
        transactions.extend(stale.map(|(key, (_, revision))| Transaction::withdraw(key.clone(), *revision)));
        transactions
    }

    /// FNV-1a over all desired users and roles.
    fn digest(&self) -> String {
        let text = format!("{:?}{:?}", self.users, self.roles);
        let hash = text
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        format!("{hash:016x}")
    }
}

/// The script: each line contains arguments of etcdctl after `etc`, followed by the transactions. The first failure
/// ends it.
fn script_of(lines: &[String], transactions: &[Transaction]) -> String {
    let mut script = String::from(
        "export PATH=/run/current-system/sw/bin:$PATH\n\
         etc() { machinist-etcdctl --command-timeout=10s --dial-timeout=3s \"$@\" >/dev/null; }\n\
         set -e\n",
    );
    for line in lines {
        script.push_str(line);
        script.push('\n');
    }
    for transaction in transactions {
        let _ = write!(script, "etc txn <<'TRANSACTION'\n{}TRANSACTION\n", transaction.etcdctl());
    }
    script
}

fn prefix(text: &str) -> Range {
    let mut end = text.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    (text.as_bytes().to_vec(), end)
}

fn one(key: &str) -> Range {
    (key.as_bytes().to_vec(), Vec::new())
}

/// The arguments of etcdctl for a range.
fn range_arguments(from: &[u8], end: &[u8]) -> String {
    let (from, end) = (String::from_utf8_lossy(from), String::from_utf8_lossy(end));
    if end.is_empty() { quote(&from) } else { format!("{} {}", quote(&from), quote(&end)) }
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[derive(Deserialize)]
struct Status {
    enabled: bool,
    revision: u64,
}

#[derive(Deserialize)]
struct Pairs {
    #[serde(default)]
    kvs: Vec<Pair>,
}

#[derive(Deserialize)]
struct Pair {
    key: String,
    #[serde(default)]
    value: String,
    mod_revision: i64,
}

#[derive(Deserialize)]
struct Line {
    user: Option<String>,
    role: Option<String>,
    answer: Answer,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    perm: Vec<Permission>,
}

#[derive(Deserialize)]
struct Permission {
    #[serde(default, rename = "permType")]
    kind: u8,
    #[serde(default)]
    key: String,
    #[serde(default)]
    range_end: String,
}

impl Found {
    /// Parses the output of [`PROBE`].
    ///
    /// # Errors
    /// The output is invalid.
    pub fn read(stdout: &str) -> Result<Self, PermissionsError> {
        let mut lines = stdout.lines().filter(|line| !line.trim().is_empty());
        let mut next = || lines.next().ok_or(PermissionsError::Short);
        let status: Status = parse(next()?)?;
        let mark: Pairs = parse(next()?)?;
        let mut found = Self { enabled: status.enabled, revision: status.revision, ..Self::default() };
        found.mark = mark.kvs.first().map(|pair| text(&pair.value)).unwrap_or_default();
        let record = |pair: &Pair| (text(&pair.key), (text(&pair.value), pair.mod_revision));
        for _ in 0..2 {
            let records: Pairs = parse(next()?)?;
            found.records.extend(records.kvs.iter().map(record));
        }
        let network: Pairs = parse(next()?)?;
        found.network.extend(network.kvs.iter().map(record));
        for line in lines {
            let line: Line = parse(line)?;
            if let Some(user) = line.user {
                found.users.insert(user, line.answer.roles.into_iter().collect());
            } else if let Some(role) = line.role {
                let range = |permission: &Permission| (bytes(&permission.key), bytes(&permission.range_end));
                let permissions = line.answer.perm.iter();
                found.roles.insert(role, permissions.map(|one| (range(one), Kind::from(one.kind))).collect());
            }
        }
        Ok(found)
    }
}

fn parse<'a, T: Deserialize<'a>>(line: &'a str) -> Result<T, PermissionsError> {
    serde_json::from_str(line).map_err(PermissionsError::Format)
}

/// Decodes bytes from etcdctl's output, in base64.
fn bytes(base64: &str) -> Vec<u8> {
    STANDARD.decode(base64).unwrap_or_default()
}

fn text(base64: &str) -> String {
    String::from_utf8_lossy(&bytes(base64)).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use expect_test::expect;
    use machinist_model::{Cluster, NodeName, Orchestrator, Role, fixtures};

    use super::{Found, PROBE, Rules};

    fn cluster() -> Cluster {
        let mut cluster = fixtures::three_member_etcd();
        cluster.orchestrator = Some(Orchestrator::Mesh);
        let casper = NodeName::parse("casper").unwrap();
        cluster.nodes.get_mut(&casper).unwrap().roles = [Role::Worker].into();
        cluster
    }

    #[test]
    fn a_cluster_without_a_mesh_has_no_rules() {
        assert_eq!(Rules::of(&fixtures::three_member_etcd()), None);
    }

    #[test]
    fn an_agent_writes_below_its_own_node_only() {
        let script = Rules::of(&cluster()).unwrap().script(&Found::default()).unwrap();
        let lines: String = script.lines().skip(3).map(|line| format!("{line}\n")).collect();
        expect![[r#"
            etc role add 'mesh-agent-casper'
            etc role grant-permission 'mesh-agent-casper' read '/cluster/' '/cluster0'
            etc role grant-permission 'mesh-agent-casper' readwrite '/cluster/instances/casper/' '/cluster/instances/casper0'
            etc role grant-permission 'mesh-agent-casper' read '/coreos.com/network/' '/coreos.com/network0'
            etc user add 'etcd-operator' --no-password
            etc user grant-role 'etcd-operator' 'root'
            etc user add 'kube-etcd-healthcheck-client' --no-password
            etc user grant-role 'kube-etcd-healthcheck-client' 'root'
            etc user add 'mesh-agent-casper' --no-password
            etc user grant-role 'mesh-agent-casper' 'mesh-agent-casper'
            etc user add 'root' --no-password
            etc role add root 2>/dev/null || true
            etc user grant-role 'root' 'root'
            etc auth enable
            etc txn <<'TRANSACTION'
            mod("/cluster/nodes/casper") = "0"

            put "/cluster/nodes/casper" "{\"ipv4\":\"10.13.13.4\",\"name\":\"casper\",\"services\":[\"backends\",\"services\"],\"version\":1}"

            get "/cluster/nodes/casper"

            TRANSACTION
            etc txn <<'TRANSACTION'
            mod("/cluster/schema") = "0"

            put "/cluster/schema" "{\"version\":1}"

            get "/cluster/schema"

            TRANSACTION
            status=$(machinist-etcdctl --command-timeout=10s --dial-timeout=3s auth status)
            etc put '/machinist/permissions' "a4f644cdd8d940b0 ${status##*AuthRevision: }"
        "#]]
        .assert_eq(&lines);
    }

    fn answer(enabled: bool, mark: &str, rest: &str) -> Found {
        let pair = |key: &str, value: &str| {
            use base64::Engine as _;
            let encode = |text: &str| super::STANDARD.encode(text);
            format!(r#"{{"kvs":[{{"key":"{}","value":"{}","mod_revision":9}}]}}"#, encode(key), encode(value))
        };
        let record = r#"{"ipv4":"10.13.13.4","name":"casper","services":["backends","services"],"version":1}"#;
        let stdout = format!(
            "{{\"enabled\":{enabled},\"revision\":12}}\n{}\n{}\n{}\n{{}}\n{rest}",
            pair("x", mark),
            pair("/cluster/nodes/casper", record),
            pair("/cluster/schema", "{\"version\":1}"),
        );
        Found::read(&stdout).unwrap()
    }

    #[test]
    fn a_matching_state_is_left_alone_and_a_manual_change_is_not() {
        let rules = Rules::of(&cluster()).unwrap();
        let mark = format!("{} 12", rules.digest());
        assert_eq!(rules.script(&answer(true, &mark, "")), None);
        // Any change of users and roles increments the revision.
        assert!(rules.script(&answer(true, &mark.replace("12", "11"), "")).is_some());
        assert!(rules.script(&answer(false, &mark, "")).unwrap().contains("\netc auth enable\n"));
    }

    #[test]
    fn excess_permissions_and_removed_nodes_are_deleted() {
        let rest = r#"{"user":"root","answer":{"roles":["root"]}}
{"user":"mesh-agent-gone","answer":{"roles":["mesh-agent-gone"]}}
{"role":"mesh-agent-casper","answer":{"perm":[{"permType":2,"key":"Lw==","range_end":"MA=="}]}}
{"role":"mesh-agent-gone","answer":{}}
{"role":"of-a-person","answer":{}}"#;
        let script = Rules::of(&cluster()).unwrap().script(&answer(true, "", rest)).unwrap();
        assert!(script.contains("\netc role revoke-permission 'mesh-agent-casper' '/' '0'\n"), "{script}");
        assert!(
            script.contains("\netc user delete 'mesh-agent-gone'\netc role delete 'mesh-agent-gone'\n"),
            "{script}"
        );
        assert!(!script.contains("of-a-person") && !script.contains("auth enable"), "{script}");
    }

    fn with_overlay() -> Cluster {
        let machine = |host: u8, role: &str| serde_json::json!({ "ip": format!("10.13.13.{host}"), "roles": [role] });
        fixtures::cluster(&serde_json::json!({
            "cluster": { "name": "mesh", "orchestrator": "mesh", "operators": [{ "name": "ops", "ssh": fixtures::SSH_KEY }] },
            "network": { "nodes": "10.13.13.0/24", "overlay": { "backend": "host-gw", "network": "10.10.0.0/16" } },
            "machines": { "etcd1": machine(2, "etcd"), "casper": machine(4, "worker") },
        }))
    }

    #[test]
    fn flannel_writes_the_key_of_its_nodes_part_only() {
        let script = Rules::of(&with_overlay()).unwrap().script(&Found::default()).unwrap();
        let of_flannel: Vec<&str> = script.lines().filter(|line| line.contains("mesh-flannel")).collect();
        assert_eq!(
            of_flannel,
            [
                "etc role add 'mesh-flannel-casper'",
                "etc role grant-permission 'mesh-flannel-casper' read '/coreos.com/network/' '/coreos.com/network0'",
                "etc role grant-permission 'mesh-flannel-casper' readwrite '/coreos.com/network/subnets/10.10.4.0-24'",
                "etc user add 'mesh-flannel-casper' --no-password",
                "etc user grant-role 'mesh-flannel-casper' 'mesh-flannel-casper'",
            ]
        );
    }

    #[test]
    fn new_nodes_get_permissions_before_they_change_and_none_are_revoked() {
        let rules = Rules::of(&with_overlay()).unwrap();
        let configuration = r#"put "/coreos.com/network/config" "{\"Backend\":{\"Type\":\"host-gw\"}"#;
        let first = rules.welcome(&Found::default()).unwrap();
        assert!(first.contains(configuration) && !first.contains("auth enable") && !first.contains("user"), "{first}");
        let mut found = Found { enabled: true, ..Found::default() };
        found.network.insert("/coreos.com/network/config".to_owned(), ("another".to_owned(), 7));
        for user in ["mesh-agent-casper", "mesh-agent-gone"] {
            found.users.insert(user.to_owned(), [user.to_owned()].into());
            found.roles.insert(user.to_owned(), super::Role::new());
        }
        let script = rules.welcome(&found).unwrap();
        assert!(script.contains("etc user add 'mesh-flannel-casper'"), "{script}");
        assert!(rules.newcomers(&found).is_empty(), "its agent is known");
        for kept in ["mesh-agent-casper", "gone", "another", "config", "delete", "revoke"] {
            assert!(!script.contains(kept), "{kept}: {script}");
        }
        found.users.remove("mesh-agent-casper");
        assert_eq!(rules.newcomers(&found), ["casper"]);
        found.mark = format!("{} 0", rules.digest());
        assert_eq!((rules.welcome(&found), rules.newcomers(&found)), (None, Vec::new()));
        assert!(rules.newcomers(&Found::default()).is_empty(), "authentication is still disabled");
    }

    #[test]
    fn a_changed_overlay_restarts_all_flannels_and_a_stale_lease_one() {
        let rules = Rules::of(&with_overlay()).unwrap();
        let right = r#"{"Network":"10.10.0.0/16","SubnetLen":24,"Backend":{"Type":"host-gw"}}"#;
        let lease = |part: &str, holder: &str| {
            (format!("/coreos.com/network/subnets/{part}-24"), (format!(r#"{{"PublicIP":"{holder}"}}"#), 5))
        };
        let writes = |config: &str, leases: &[(String, (String, i64))]| -> Vec<String> {
            let mut found = Found::default();
            found.network.insert("/coreos.com/network/config".to_owned(), (config.to_owned(), 7));
            found.network.extend(leases.iter().cloned());
            let script = rules.script(&found).unwrap();
            script
                .lines()
                .filter(|line| line.contains("/coreos.com") && !line.contains("role"))
                .map(str::to_owned)
                .collect()
        };
        let own = lease("10.10.4.0", "10.13.13.4");
        assert!(writes(right, std::slice::from_ref(&own)).is_empty(), "a correct state stays");
        let stale = writes(right, &[own.clone(), lease("10.10.9.0", "10.13.13.4")]);
        assert!(stale.contains(&r#"del "/coreos.com/network/subnets/10.10.9.0-24""#.to_owned()), "{stale:?}");
        assert!(!stale.contains(&r#"del "/coreos.com/network/subnets/10.10.4.0-24""#.to_owned()), "{stale:?}");
        let changed = writes(r#"{"Network":"10.99.0.0/16"}"#, &[own]);
        assert_eq!(changed[0], r#"mod("/coreos.com/network/config") = "7""#);
        assert!(changed.contains(&r#"del "/coreos.com/network/subnets/10.10.4.0-24""#.to_owned()), "{changed:?}");
    }

    #[test]
    fn invalid_output_is_an_error() {
        for stdout in ["", "{}", "{\"enabled\":true,\"revision\":1}\n", "etcdctl: not found"] {
            assert!(Found::read(stdout).is_err(), "{stdout:?}");
        }
        let status = std::process::Command::new("sh").args(["-n", "-c", PROBE]).status().unwrap();
        assert!(status.success());
    }
}
