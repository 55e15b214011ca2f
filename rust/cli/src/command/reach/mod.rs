//! Commands that reach running machines: exec, logs, ssh, upload, download, port-forward.

mod exec;
mod forward;
mod logs;
mod ssh;
mod transfer;
mod view;

pub use self::{
    exec::{ExecArgs, run as exec},
    forward::{PortForwardArgs, run as port_forward},
    logs::{LogsArgs, run as logs},
    ssh::{SshArgs, run as ssh},
    transfer::{DownloadArgs, UploadArgs, download, upload},
};
