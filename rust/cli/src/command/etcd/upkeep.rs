//! Defragmentation and the leadership.

use std::{
    net::IpAddr,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use indicatif::HumanBytes;
use machinist_etcd::{alarm::QUOTA_HINT, etcd::Health, upkeep::leader_last};
use machinist_model::NodeName;
use machinist_operations::rollout::target::voters;
use machinist_remote::Remote;
use machinist_rollout::{
    lock::Token,
    step::{StepError, gate},
    upkeep,
};

use super::access::{Etcd, failed};
use crate::failure::{Failure, Kind, Outcome};

/// How long a member may take to be healthy again after it was busy.
const RECOVERY: Duration = Duration::from_secs(60);

/// To whom.
#[derive(Debug, Args)]
pub struct MoveLeaderArgs {
    /// The member that is to lead; the one that has applied most by default
    #[arg(value_name = "MEMBER")]
    member: Option<String>,
}

impl Etcd<'_> {
    /// Defragments one member after the other, the leader last, each only while the others hold a quorum. After a quota alarm the
    /// history is compacted before that, and the alarm disarmed after it.
    pub fn defragment(&self) -> Outcome {
        self.lock()?;
        let first = self.voice()?;
        // Refused as a whole, and not after some: whoever is away cannot be defragmented either.
        for node in first.health.members.keys() {
            refuse_if_needed(&first.health, node)?;
        }
        let notice = first.health.quota_notice();
        if let Some(notice) = &notice {
            refuse_to_disarm(&first.health)?;
            let revision = upkeep::compact(&first, &self.token(&first.node)?).map_err(|error| failed(&error))?;
            self.ui.story(&format!("{notice}; its history up to revision {revision} is compacted"));
        }
        let mut freed = Vec::new();
        for node in leader_last(&first.health) {
            freed.push(self.defragment_one(node)?);
        }
        if notice.is_some() {
            self.disarm(&freed)?;
        }
        self.report_freed(&freed, notice.is_some());
        Ok(ExitCode::SUCCESS)
    }

    fn defragment_one(&self, node: NodeName) -> Result<Freed, Failure> {
        let health = self.voice()?.health;
        refuse_if_needed(&health, &node)?;
        let (remote, ip) = self.member(&node)?;
        self.ui.story(&format!("{node} is defragmented; it answers nobody meanwhile"));
        let size = |health: &Health| health.members.get(&node).and_then(|member| member.database_bytes);
        let before = size(&health).unwrap_or(0);
        upkeep::defragment(&*remote, &self.token(&node)?, ip).map_err(|error| failed(&error))?;
        let after = size(&self.recovered(&node)?).unwrap_or(0);
        Ok(Freed { node, before, after })
    }

    fn token(&self, node: &NodeName) -> Result<Token, Failure> {
        self.locks.token(node).map_err(|error| failed(&error))
    }

    /// Disarms the quota alarm and writes through each member. A member that is still over its quota raises the alarm again.
    fn disarm(&self, freed: &[Freed]) -> Result<(), Failure> {
        let voice = self.voice()?;
        refuse_to_disarm(&voice.health)?;
        upkeep::disarm(&voice, &self.token(&voice.node)?).map_err(|error| failed(&error))?;
        for Freed { node, after, .. } in freed {
            let (remote, ip) = self.member(node)?;
            upkeep::try_write(&*remote, ip).map_err(|error| {
                let size = HumanBytes(*after);
                let message = format!("{node}: etcd refuses writes although the alarm was disarmed: {error}");
                let why = format!("its database still has {size}");
                Failure::new(Kind::Failed, format!("{message} ({why})")).hint(QUOTA_HINT)
            })?;
        }
        if let Some(notice) = self.voice()?.health.quota_notice() {
            return Err(Failure::new(Kind::Failed, format!("the alarm was disarmed and raised again: {notice}"))
                .hint(QUOTA_HINT));
        }
        self.ui.story("the alarm is disarmed; each member takes writes");
        Ok(())
    }

    fn report_freed(&self, freed: &[Freed], disarmed: bool) {
        if self.ui.json {
            let rows: Vec<_> = freed
                .iter()
                .map(|Freed { node, before, after }| {
                    serde_json::json!({ "member": node, "before": before, "after": after })
                })
                .collect();
            self.ui.result_json(&serde_json::json!({ "members": rows, "disarmed": disarmed }));
        } else {
            let bytes = |bytes: u64| HumanBytes(bytes).to_string();
            let cells = |Freed { node, before, after }: &Freed| vec![node.to_string(), bytes(*before), bytes(*after)];
            self.ui.result_table(&["MEMBER", "BEFORE", "AFTER"], freed.iter().map(cells).collect());
        }
    }

    /// Connects to a member.
    fn member(&self, node: &NodeName) -> Result<(Box<dyn Remote>, IpAddr), Failure> {
        let ip = voters(&self.cluster).get(node).copied();
        let ip = ip.ok_or_else(|| Failure::new(Kind::Failed, format!("{node} is gone")))?;
        Ok((self.connector.connect(node).map_err(|error| failed(&error.into()))?, ip))
    }

    /// Waits until the member is healthy again.
    fn recovered(&self, node: &NodeName) -> Result<Health, Failure> {
        let deadline = Instant::now() + RECOVERY;
        loop {
            let health = self.voice()?.health;
            let problems = health.members.get(node).map(|member| member.problems.join(", ")).unwrap_or_default();
            if problems.is_empty() {
                return Ok(health);
            }
            if Instant::now() >= deadline {
                let failure =
                    Failure::new(Kind::Failed, format!("{node} is not well after it was defragmented: {problems}"));
                return Err(
                    failure.hint(format!("the others were left as they are; `journalctl -u etcd` on {node} says more"))
                );
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// Hands the leadership over.
    pub fn move_leader(&self, args: &MoveLeaderArgs) -> Outcome {
        let members = voters(&self.cluster);
        self.lock()?;
        let health = self.voice()?.health;
        let Some(leader) = health.leader.clone() else {
            return Err(
                Failure::new(Kind::Failed, "etcd has no leader now").hint("`machinist etcd status` shows the members")
            );
        };
        let (heir, id) = heir(&health, args.member.as_deref())?;
        if heir == leader {
            self.ui.result(&format!("{leader} leads already"));
            return Ok(ExitCode::SUCCESS);
        }
        let (remote, ip) = self.member(&leader)?;
        let token = self.token(&leader)?;
        upkeep::move_leader(&*remote, &token, ip, id).map_err(|error| failed(&error))?;
        let now = gate::etcd(&*remote, &members).map_err(|error: StepError| failed(&error))?.leader;
        if self.ui.json {
            self.ui.result_json(&serde_json::json!({ "before": leader, "leader": now }));
        } else {
            let now = now.map_or_else(|| "nobody yet".to_owned(), |name| name.to_string());
            self.ui.result(&format!("{now} leads now, {leader} did before"));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Sizes of a member's database around its defragmentation, in bytes.
struct Freed {
    node: NodeName,
    before: u64,
    after: u64,
}

/// etcdctl disarms all alarms at once: one that stands for damaged data must stay.
fn refuse_to_disarm(health: &Health) -> Result<(), Failure> {
    let Some((node, problems)) = health.broken().next() else { return Ok(()) };
    let message = format!("the quota alarm cannot be disarmed: {node} {problems}");
    Err(Failure::new(Kind::Refused, message)
        .hint("`machinist etcd status` shows the members; every one has to be healthy"))
}

fn refuse_if_needed(health: &Health, node: &NodeName) -> Result<(), Failure> {
    match health.objection(node) {
        None => Ok(()),
        Some(objection) => Err(Failure::new(Kind::Refused, format!("{node} cannot be busy now: {objection}"))
            .hint("`machinist etcd status` shows the members; bring them back first")),
    }
}

fn heir(health: &Health, wanted: Option<&str>) -> Result<(NodeName, u64), Failure> {
    let Some(wanted) = wanted else {
        let (name, id) = health
            .heir()
            .ok_or_else(|| Failure::new(Kind::Refused, "there is no other healthy member that could lead"))?;
        return Ok((name.clone(), id));
    };
    let found = health.members.iter().find(|(name, _)| name.as_str() == wanted);
    let Some((name, member)) = found else {
        let names: Vec<&str> = health.members.keys().map(NodeName::as_str).collect();
        return Err(Failure::new(
            Kind::Input,
            format!("{wanted} is no member of etcd; those are {}", names.join(", ")),
        ));
    };
    match member.id.filter(|_| member.problems.is_empty()) {
        Some(id) => Ok((name.clone(), id)),
        None => Err(Failure::new(Kind::Refused, format!("{name} cannot lead: it {}", member.problems.join(", ")))),
    }
}
