//! Images: those of the provider, and snapshots.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Hetzner;
use super::errors::{find, id_of, invalid, labels_of};
use super::list::list;
use crate::labels::Labels;
use crate::message::{Call, Handled, Problem, Reply};
use crate::route::Route;
use crate::time::{self, Moment};

/// Endpoints.
pub const ROUTES: &[Route<Hetzner>] =
    &[("GET", "/images", all), ("GET", "/images/{id}", one), ("DELETE", "/images/{id}", delete)];

/// An image.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Image {
    /// Unique.
    pub id: u64,
    /// `system` or `snapshot`.
    pub kind: String,
    /// System images have one, for each architecture the same.
    pub name: Option<String>,
    /// For people.
    pub description: String,
    /// Such as `debian`.
    pub flavor: String,
    /// Such as `12`.
    pub version: Option<String>,
    /// `x86` or `arm`.
    pub architecture: String,
    /// When it was created.
    pub created: Moment,
    /// When it is or was deprecated.
    pub deprecated: Option<Moment>,
    /// Key and value.
    pub labels: Labels,
}

impl Image {
    /// The form of answers.
    pub fn json(&self) -> Value {
        let snapshot = self.kind == "snapshot";
        json!({
            "id": self.id,
            "type": self.kind,
            "status": "available",
            "name": self.name,
            "description": self.description,
            "image_size": snapshot.then_some(1.5),
            "disk_size": 5,
            "created": time::text(self.created),
            "created_from": null,
            "bound_to": null,
            "os_flavor": self.flavor,
            "os_version": self.version,
            "rapid_deploy": !snapshot,
            "protection": {"delete": false},
            "deprecated": self.deprecated.map(time::text),
            "deleted": null,
            "labels": self.labels,
            "architecture": self.architecture,
        })
    }
}

impl Hetzner {
    /// The image that a name or an id means for an architecture.
    ///
    /// # Errors
    ///
    /// 422 `invalid_input`.
    pub fn image_for(&self, wanted: &str, architecture: &str) -> Result<u64, Problem> {
        if let Some(image) = wanted.parse().ok().and_then(|id: u64| self.images.get(&id)) {
            return match image.architecture == architecture {
                true => Ok(image.id),
                false => Err(invalid("image", "the image is for another architecture")),
            };
        }
        let named = |image: &&Image| image.name.as_deref() == Some(wanted) && image.architecture == architecture;
        self.images.values().find(named).map(|image| image.id).ok_or_else(|| invalid("image", "unknown"))
    }
}

fn all(state: &mut Hetzner, call: &Call) -> Handled {
    let deprecated = call.query["include_deprecated"] == true;
    let shown = state.images.values().filter(|image| deprecated || image.deprecated.is_none());
    list(call, "images", shown.map(Image::json).collect())
}

fn one(state: &mut Hetzner, call: &Call) -> Handled {
    let image = find(&state.images, id_of(call, "image")?, "image")?;
    Ok(Reply::json(200, json!({"image": image.json()})))
}

fn delete(state: &mut Hetzner, call: &Call) -> Handled {
    let id = id_of(call, "image")?;
    if find(&state.images, id, "image")?.kind == "system" {
        return Err(Problem::new(403, "forbidden", "images of the provider cannot be deleted"));
    }
    state.images.remove(&id);
    Ok(Reply::empty())
}

/// A snapshot that another user of the project made.
pub fn snapshot(state: &mut Hetzner, call: &Call) -> Handled {
    let id = state.id();
    let image = Image {
        id,
        kind: "snapshot".to_owned(),
        name: None,
        description: call.text("description").unwrap_or("snapshot").to_owned(),
        flavor: call.text("os_flavor").unwrap_or("unknown").to_owned(),
        version: None,
        architecture: call.text("architecture").unwrap_or("x86").to_owned(),
        created: call.now,
        deprecated: None,
        labels: labels_of(call)?.unwrap_or_default(),
    };
    let json = image.json();
    state.images.insert(id, image);
    Ok(Reply::json(201, json!({"image": json})))
}
