//! Actions of servers on power, image, type, rescue system and placement group.

use serde_json::{Value, json};

use super::effect::Status;
use super::errors::{find, invalid, refused};
use super::server::{USER_DATA, free_server};
use super::{Catalogue, Effect, Hetzner};
use crate::message::{Call, Handled, Problem, Reply};
use crate::route::Route;

/// The rescue system boots once, within an hour.
const RESCUE_MS: i64 = 3_600_000;

/// Endpoints.
pub const ROUTES: &[Route<Hetzner>] = &[
    ("POST", "/servers/{id}/actions/poweron", power_on),
    ("POST", "/servers/{id}/actions/poweroff", power_off),
    ("POST", "/servers/{id}/actions/shutdown", shutdown),
    ("POST", "/servers/{id}/actions/reboot", reboot),
    ("POST", "/servers/{id}/actions/reset", reset),
    ("POST", "/servers/{id}/actions/enable_rescue", enable_rescue),
    ("POST", "/servers/{id}/actions/disable_rescue", disable_rescue),
    ("POST", "/servers/{id}/actions/rebuild", rebuild),
    ("POST", "/servers/{id}/actions/change_type", change_type),
    ("POST", "/servers/{id}/actions/change_protection", change_protection),
    ("POST", "/servers/{id}/actions/change_dns_ptr", change_dns_ptr),
    ("POST", "/servers/{id}/actions/add_to_placement_group", place),
    ("POST", "/servers/{id}/actions/remove_from_placement_group", displace),
];

impl Hetzner {
    /// Refuses what only a server that is off allows.
    ///
    /// # Errors
    ///
    /// 422 `server_not_stopped`.
    pub fn stopped(&self, id: u64) -> Result<(), Problem> {
        match find(&self.servers, id, "server")?.status {
            Status::Off => Ok(()),
            _ => Err(refused("server_not_stopped", "the server must be off")),
        }
    }
}

/// The change of a machine: a status until the end, the events, the effect.
fn change(
    state: &mut Hetzner,
    call: &Call,
    command: &str,
    change: (Status, &[&str], Effect),
) -> Result<Value, Problem> {
    let id = free_server(state, call)?;
    let (status, events, effect) = change;
    let expired = |until: &i64| *until <= call.now;
    state.change(id, |server| {
        server.status = status;
        if server.rescue_until.as_ref().is_some_and(expired) {
            server.rescue_until = None;
        }
    });
    let server = find(&state.servers, id, "server")?;
    let events = events.iter().map(|event| state.machine(server, event)).collect();
    Ok(state.begin_with(call, command, &[("server", id)], effect, events))
}

fn answer(action: Result<Value, Problem>) -> Handled {
    Ok(Reply::json(201, json!({"action": action?})))
}

fn power_on(state: &mut Hetzner, call: &Call) -> Handled {
    let id = free_server(state, call)?;
    if find(&state.servers, id, "server")?.status == Status::Running {
        return state.act(call, "start_server", &[("server", id)], Effect::None);
    }
    answer(change(state, call, "start_server", (Status::Starting, &["poweron"], Effect::Boot(id))))
}

fn stop(state: &mut Hetzner, call: &Call, command: &str) -> Handled {
    let id = free_server(state, call)?;
    if find(&state.servers, id, "server")?.status == Status::Off {
        return state.act(call, command, &[("server", id)], Effect::None);
    }
    let off = Effect::Become(id, Status::Off);
    answer(change(state, call, command, (Status::Stopping, &["poweroff"], off)))
}

fn power_off(state: &mut Hetzner, call: &Call) -> Handled {
    stop(state, call, "stop_server")
}

fn shutdown(state: &mut Hetzner, call: &Call) -> Handled {
    stop(state, call, "shutdown_server")
}

fn restart(state: &mut Hetzner, call: &Call, command: &str) -> Handled {
    let id = free_server(state, call)?;
    answer(change(state, call, command, (Status::Running, &["poweroff", "poweron"], Effect::Boot(id))))
}

fn reboot(state: &mut Hetzner, call: &Call) -> Handled {
    restart(state, call, "reboot_server")
}

fn reset(state: &mut Hetzner, call: &Call) -> Handled {
    restart(state, call, "reset_server")
}

fn enable_rescue(state: &mut Hetzner, call: &Call) -> Handled {
    let id = free_server(state, call)?;
    let keys = call.numbers("ssh_keys").into_iter();
    let keys = keys.map(|key| Ok(find(&state.ssh_keys, key, "SSH key")?.public_key.clone()));
    let keys: Vec<String> = keys.collect::<Result<_, Problem>>()?;
    state.change(id, |server| server.rescue_keys = keys);
    let effect = Effect::Rescue(id, Some(call.now + RESCUE_MS));
    let action = state.begin(call, "enable_rescue", &[("server", id)], effect);
    Ok(Reply::json(201, json!({"action": action, "root_password": "made-up-rescue-password"})))
}

fn disable_rescue(state: &mut Hetzner, call: &Call) -> Handled {
    let id = free_server(state, call)?;
    state.act(call, "disable_rescue", &[("server", id)], Effect::Rescue(id, None))
}

fn rebuild(state: &mut Hetzner, call: &Call) -> Handled {
    let id = free_server(state, call)?;
    let server = find(&state.servers, id, "server")?;
    if server.protected.1 {
        return Err(Problem::new(423, "protected", "the server is protected from being rebuilt"));
    }
    if call.text("user_data").is_some_and(|data| data.len() > USER_DATA) {
        return Err(invalid("user_data", "longer than 32 KiB"));
    }
    let kind = Catalogue::get().server_type(&server.server_type);
    let image = state.image_for(call.required("image"), kind.map_or("", |kind| kind.architecture.as_str()))?;
    let data = call.text("user_data").map(str::to_owned);
    state.change(id, |server| {
        server.image = Some(image);
        server.user_data = data.or_else(|| server.user_data.clone());
    });
    let rebuilt = (Status::Rebuilding, ["rebuild", "poweron"], Effect::Rebuild(id, image));
    let action = change(state, call, "rebuild_server", (rebuilt.0, &rebuilt.1, rebuilt.2))?;
    Ok(Reply::json(201, json!({"action": action, "root_password": null})))
}

fn change_type(state: &mut Hetzner, call: &Call) -> Handled {
    let id = free_server(state, call)?;
    state.stopped(id)?;
    let name = call.required("server_type").to_owned();
    let server = find(&state.servers, id, "server")?;
    let (old, new) = (Catalogue::get().server_type(&server.server_type), Catalogue::get().server_type(&name));
    let new = new.ok_or_else(|| invalid("server_type", "unknown"))?;
    if old.is_some_and(|old| old.architecture != new.architecture) || new.disk < server.disk {
        return Err(refused("invalid_server_type", "the disk or the architecture does not fit"));
    }
    state.in_stock(&name, &server.location, call.now)?;
    let disk = new.disk;
    if call.flag("upgrade_disk", false) {
        state.change(id, |server| server.disk = disk);
    }
    answer(change(state, call, "change_server_type", (Status::Migrating, &[], Effect::Retype(id, name))))
}

fn change_protection(state: &mut Hetzner, call: &Call) -> Handled {
    let id = free_server(state, call)?;
    let [delete, rebuild] = ["delete", "rebuild"].map(|field| call.body[field].as_bool());
    state.change(id, |server| {
        server.protected = (delete.unwrap_or(server.protected.0), rebuild.unwrap_or(server.protected.1));
    });
    state.act(call, "change_protection", &[("server", id)], Effect::None)
}

fn change_dns_ptr(state: &mut Hetzner, call: &Call) -> Handled {
    let id = free_server(state, call)?;
    let address = call.required("ip");
    let ip = state.primary_ips.values_mut().find(|ip| ip.server == Some(id) && ip.ip == address);
    let ip = ip.ok_or_else(|| invalid("ip", "not an address of this server"))?;
    ip.dns_ptr = call.text("dns_ptr").map(str::to_owned);
    state.act(call, "change_dns_ptr", &[("server", id)], Effect::None)
}

fn place(state: &mut Hetzner, call: &Call) -> Handled {
    let id = free_server(state, call)?;
    let group = call.number("placement_group").unwrap_or_default();
    state.placeable(group)?;
    state.stopped(id)?;
    if find(&state.servers, id, "server")?.placement_group.is_some() {
        return Err(refused("already_in_placement_group", "the server is in a placement group"));
    }
    let resources = [("server", id), ("placement_group", group)];
    state.act(call, "add_to_placement_group", &resources, Effect::Place(id, Some(group)))
}

fn displace(state: &mut Hetzner, call: &Call) -> Handled {
    let id = free_server(state, call)?;
    if find(&state.servers, id, "server")?.placement_group.is_none() {
        return Err(refused("not_in_placement_group", "the server is in no placement group"));
    }
    state.act(call, "remove_from_placement_group", &[("server", id)], Effect::Place(id, None))
}
