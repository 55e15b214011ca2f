//! Examination of a machine before anything on it is changed.

use std::time::Duration;

use machinist_model::NodeName;
use machinist_remote::{RemoteError, Request};
use machinist_rollout::install::{
    checks::{self, Check, Disk, Finding, Needs, Verdict, Wanted, Weight},
    survey::{self, Firmware, Survey},
};
use serde::Serialize;

use super::Install;
use crate::{
    connect,
    context::Connections,
    event::Events,
    failure::{Failure, Kind, words},
};

/// Time limit of the script, which lists at most some hundred devices.
const BOUND: Duration = Duration::from_secs(60);

/// Result of an examination.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Name of the node.
    pub node: NodeName,
    /// Address of the machine.
    pub host: String,
    /// True if the installation is refused.
    pub refused: bool,
    /// The machine; absent if it was not examined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<Machine>,
    /// Findings, disks that are erased, disks that stay.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// The machine as it is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// Name of the running distribution.
    pub system: String,
    /// Processor architecture.
    pub architecture: String,
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// Firmware.
    pub firmware: Option<Firmware>,
    /// True if it runs the NixOS installer already.
    pub is_installer: bool,
}

impl Report {
    /// Returns the machine and its disks, a fact a line.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(machine) = &self.machine {
            let memory = machine.memory.map(|bytes| format!(", {} MiB of memory", bytes >> 20)).unwrap_or_default();
            let firmware = machine.firmware.map(|firmware| format!(", {firmware}")).unwrap_or_default();
            lines.push(format!(
                "{} ({}): {}, {}{memory}{firmware}",
                self.node, self.host, machine.system, machine.architecture
            ));
        }
        lines.extend(self.verdict.erased.iter().map(|disk| format!("erased     {}", disk.words())));
        lines.extend(self.verdict.untouched.iter().map(|disk| format!("untouched  {}", disk.words())));
        lines.extend(self.verdict.findings.iter().map(|finding| format!("{:<10} {}", weight(finding), about(finding))));
        if !self.refused {
            lines.push(format!("{} can be installed", self.node));
        }
        lines
    }

    /// Reports the warnings.
    pub(super) fn tell(&self, events: &Events) {
        for finding in self.verdict.findings.iter().filter(|finding| finding.weight == Weight::Warning) {
            events.warn(format!("{}: {}", self.node, about(finding)));
        }
    }

    /// Returns the refusal, if the machine is refused.
    ///
    /// # Errors
    /// The machine is refused.
    pub(super) fn refuse(&self) -> Result<(), Failure> {
        if !self.refused {
            return Ok(());
        }
        let message = format!("{} ({}) is not installed; nothing on it was changed", self.node, self.host);
        let mut failure = Failure::new(Kind::Refused, message);
        let refused: Vec<&Finding> =
            self.verdict.findings.iter().filter(|finding| finding.weight == Weight::Refused).collect();
        failure.causes = refused.iter().map(|finding| format!("{}: {}", finding.check.name(), finding.text)).collect();
        failure.hints = refused.iter().map(|finding| finding.fix.clone()).collect();
        failure.hints.push(format!("if you know better: --ignore {}", names(&refused)));
        Err(failure)
    }

    /// Returns the disks that are erased, for a question. `disk` is the one of machines.nix.
    pub(super) fn words(&self, disk: &str) -> String {
        if self.verdict.erased.is_empty() {
            return disk.to_owned();
        }
        let list = |disks: &[Disk]| disks.iter().map(Disk::words).collect::<Vec<_>>().join("\n    ");
        let erased = list(&self.verdict.erased);
        if self.verdict.untouched.is_empty() {
            return erased;
        }
        format!("{erased}\n  untouched:\n    {}", list(&self.verdict.untouched))
    }

    /// Returns the paths of the disks that are erased.
    pub(super) fn disk_names(&self, disk: &str) -> String {
        if self.verdict.erased.is_empty() {
            return disk.to_owned();
        }
        self.verdict.erased.iter().map(|disk| disk.path.as_str()).collect::<Vec<_>>().join(", ")
    }
}

fn weight(finding: &Finding) -> &'static str {
    match finding.weight {
        Weight::Refused => "refused",
        Weight::Warning => "warning",
    }
}

fn about(finding: &Finding) -> String {
    format!("{}: {}; {}", finding.check.name(), finding.text, finding.fix)
}

fn names(findings: &[&Finding]) -> String {
    let mut names: Vec<&str> = findings.iter().map(|finding| finding.check.name()).collect();
    names.dedup();
    names.join(",")
}

impl Install {
    /// Examines the machine over SSH, without changing anything on it.
    ///
    /// # Errors
    /// The machine does not answer, or the cluster's files are invalid.
    pub fn examine(&self) -> Result<Report, Failure> {
        let mut findings = Vec::new();
        let needs = match self.needs() {
            Ok(needs) => Some(needs),
            Err(why) => {
                let fix = "correct it; or override this if it needs the hardware configuration that the installation \
                           writes";
                findings.push(Finding::refused(Check::Configuration, format!("it does not evaluate: {why}"), fix));
                None
            }
        };
        let disks = match &needs {
            Some(needs) if !needs.disks.is_empty() => needs.disks.clone(),
            _ => match &self.node.disk_layout {
                Some(layout) => layout.devices.clone(),
                None => vec![self.disk.clone()],
            },
        };
        let wanted = Wanted {
            node: self.node.name.to_string(),
            system: self.node.system.clone(),
            disks,
            needs,
            generates_hardware: self.hardware.is_some(),
        };
        let mut machine = None;
        let mut verdict = Verdict::default();
        match self.survey(&wanted)? {
            Ok(survey) => {
                verdict = checks::check(&survey, &wanted);
                machine = Some(Machine {
                    system: survey.name.clone(),
                    architecture: survey.arch.clone(),
                    memory: survey.memory,
                    firmware: survey.firmware,
                    is_installer: survey.is_installer,
                });
            }
            Err(finding) => findings.push(finding),
        }
        findings.append(&mut verdict.findings);
        for finding in findings.iter_mut().filter(|finding| self.request.ignore.contains(&finding.check)) {
            finding.weight = Weight::Warning;
        }
        findings.sort_by_key(|finding| finding.check);
        verdict.findings = findings;
        let refused = verdict.findings.iter().any(|finding| finding.weight == Weight::Refused);
        Ok(Report { node: self.node.name.clone(), host: self.machine.host.clone(), refused, machine, verdict })
    }

    /// Returns what the configuration needs of the machine.
    fn needs(&self) -> Result<Needs, String> {
        let project = &self.context.project;
        let flake = project.flake().map_err(|failure| failure.in_one_line())?;
        flake.make_visible(&["nodes", "generated"]).map_err(|error| error.to_string())?;
        let value = project.nix.eval_node(&flake, self.node.name.as_str(), "machinist.install");
        let value = value.map_err(|error| {
            let text = Failure::from_error(Kind::Failed, &error).in_one_line();
            // Before it, nix tells which inputs it has fetched.
            text.rfind("error: ").map_or_else(|| text.clone(), |at| text[at..].to_owned())
        })?;
        serde_json::from_value(value).map_err(|error| format!("machinist.install: {error}"))
    }

    /// Asks the machine what it is. A machine whose host key is not known is not asked.
    fn survey(&self, wanted: &Wanted) -> Result<Result<Survey, Finding>, Failure> {
        let name = &self.node.name;
        let host = &self.machine.host;
        let is_pinned = matches!(self.context.connections, Connections::Given(_)) || !self.pinned_keys()?.is_empty();
        let ignored = self.request.ignore.contains(&Check::HostKey);
        if !is_pinned && self.request.accept.is_none() && ignored {
            let text =
                format!("no host key of {host} is pinned, so nothing was examined, and nixos-anywhere accepts any");
            return Ok(Err(Finding::refused(Check::HostKey, text, "pin it by --accept-host-key")));
        }
        let mut present = self.cluster.clone();
        connect::as_created(&self.context.project, &mut present)?;
        let connector = connect::connector(&self.context, &present, self.request.accept)?;
        let remote = match connector.connect(name) {
            Ok(remote) => remote,
            Err(error) => {
                let RemoteError::HostKeyUnknown { found, .. } = &error else {
                    return Err(Failure::on(name, Kind::Failed, &error).maybe_hint(error.hint()));
                };
                let fix = format!(
                    "compare it with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the machine's console, then add \
                     --accept-host-key {found}"
                );
                return Ok(Err(Finding::refused(Check::HostKey, words(name, &error), fix)));
            }
        };
        let mut disks = wanted.disks.clone();
        disks.extend(wanted.needs.iter().flat_map(|needs| needs.kept.clone()));
        let mut request = Request::new("examine the machine", survey::script(&disks)).as_user().timeout(BOUND);
        request.output_limit = 1 << 20;
        let output = remote
            .run_checked(request)
            .map_err(|error| Failure::on(name, Kind::Failed, &error).maybe_hint(error.hint()))?;
        Ok(Ok(Survey::parse(&output.stdout_text())))
    }
}
