//! Disks of a machine: the path of one, or a set that describes a layout.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

/// The disks of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskShape {
    /// The path of the only disk.
    Path(String),
    /// A layout.
    Set(Box<DiskSetShape>),
}

impl DiskShape {
    /// Returns the paths of the disks that are erased.
    #[must_use]
    pub fn devices(&self) -> &[String] {
        match self {
            Self::Path(path) => std::slice::from_ref(path),
            Self::Set(set) => &set.devices,
        }
    }
}

/// A layout of disks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct DiskSetShape {
    /// The disks that `machinist install` erases, absolute paths. Two are mirrors of each other, boot partitions included:
    /// the machine runs, and boots, with one of them.
    #[schemars(extend("x-required" = true, "x-example" = "[ \"/dev/disk/by-id/nvme-1\" \"/dev/disk/by-id/nvme-2\" ]"))]
    pub devices: Vec<String>,
    /// The file system of the root: `"ext4"` (mirrored by mdadm), or `"zfs"` (a pool, mirrored by ZFS).
    #[schemars(extend("x-default" = "\"ext4\"", "x-example" = "\"zfs\""))]
    pub file_system: RootFileSystem,
    /// The firmware that the layout boots by: `"uefi"`, `"bios"`, or `"hybrid"`, which is both. A mirror is not `"uefi"`:
    /// GRUB writes to both disks, systemd-boot does not.
    #[schemars(extend("x-default" = "\"uefi\", or \"hybrid\" for a mirror and for an x86 server of a cloud", "x-example" = "\"hybrid\""))]
    pub firmware: Option<DiskFirmware>,
    /// Disks or partitions with data, by mount point. They are mounted as they are, and never formatted or erased.
    #[schemars(extend("x-default" = "{ }"))]
    pub keep: BTreeMap<String, KeptDiskShape>,
}

/// A file system that is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct KeptDiskShape {
    /// Path of the disk or partition that has the file system.
    #[schemars(extend("x-required" = true, "x-example" = "\"/dev/disk/by-id/ata-2-part1\""))]
    pub device: String,
    /// Its file system, which exists: `"ext4"`, `"xfs"` or `"btrfs"`.
    #[schemars(extend("x-default" = "\"ext4\"", "x-example" = "\"xfs\""))]
    pub file_system: KeptFileSystem,
}

/// File system of a root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RootFileSystem {
    /// ext4.
    #[default]
    Ext4,
    /// ZFS.
    Zfs,
}

/// File system that is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeptFileSystem {
    /// ext4.
    #[default]
    Ext4,
    /// XFS.
    Xfs,
    /// Btrfs.
    Btrfs,
}

/// Firmware that a layout boots by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DiskFirmware {
    /// UEFI, with systemd-boot.
    Uefi,
    /// BIOS, with GRUB.
    Bios,
    /// Both, with GRUB.
    Hybrid,
}

impl RootFileSystem {
    /// Returns the name as in machines.nix.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Zfs => "zfs",
        }
    }
}

impl KeptFileSystem {
    /// Returns the name as in machines.nix.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }
}

impl DiskFirmware {
    /// Returns the name as in machines.nix.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uefi => "uefi",
            Self::Bios => "bios",
            Self::Hybrid => "hybrid",
        }
    }
}

impl<'de> Deserialize<'de> for DiskShape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DiskVisitor)
    }
}

struct DiskVisitor;

impl<'de> Visitor<'de> for DiskVisitor {
    type Value = DiskShape;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string, or a set with `devices`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(DiskShape::Path(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        DiskSetShape::deserialize(MapAccessDeserializer::new(map)).map(|set| DiskShape::Set(Box::new(set)))
    }
}

impl JsonSchema for DiskShape {
    fn schema_name() -> Cow<'static, str> {
        "Disk".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = DiskSetShape::json_schema(generator);
        schema.insert("type".to_owned(), serde_json::json!(["string", "object"]));
        schema
    }
}
