//! Rows of k3s. It issues its own certificates; the rows are the tokens that nodes join with.

use machinist_model::{Cluster, Node, Orchestrator};

use crate::{Files, KeyPairSpec, KeyUse, Table};

/// Token for servers. A holder can join as a server, and decrypt the keys of all authorities.
const SERVER_TOKEN: &str = "k3s-server-token";
/// Token for agents. A holder can join only as an agent.
const AGENT_TOKEN: &str = "k3s-agent-token";

pub(super) fn add(cluster: &Cluster, table: &mut Table) {
    if cluster.orchestrator != Some(Orchestrator::K3s) || cluster.voters().next().is_none() {
        return;
    }
    let nodes = || cluster.deployable().filter(|node| cluster.runs_k3s(node));
    table.key_pairs.extend([
        token(AGENT_TOKEN, nodes(), "services.k3s.agentTokenFile of servers, tokenFile of agents"),
        token(SERVER_TOKEN, cluster.voters(), "services.k3s.tokenFile of servers"),
    ]);
}

fn token<'a>(name: &str, holders: impl Iterator<Item = &'a Node>, consumer: &str) -> KeyPairSpec {
    KeyPairSpec {
        name: name.to_owned(),
        holders: holders.map(|node| node.name.clone()).collect(),
        files: Files::key_pair(name),
        consumer: consumer.to_owned(),
        used_as: KeyUse::Token,
    }
}

#[cfg(test)]
mod tests {
    use machinist_model::fixtures;

    use crate::table;

    #[test]
    fn only_servers_get_the_token_that_makes_servers() {
        let table = table(&fixtures::ha_k3s());
        let holders: Vec<(&str, Vec<&str>)> = table
            .key_pairs
            .iter()
            .map(|spec| (spec.name.as_str(), spec.holders.iter().map(|node| node.as_str()).collect()))
            .collect();
        assert_eq!(
            holders,
            [("k3s-agent-token", vec!["a1", "s1", "s2", "s3"]), ("k3s-server-token", vec!["s1", "s2", "s3"])]
        );
        assert!(table.is_token("k3s-agent-token") && !table.is_token("service-account"));
        assert!(table.authorities.is_empty() && table.certificates.is_empty(), "k3s has its own authorities");
    }
}
