//! Decision which of an application's two slots runs next, and what happens to the other. Pure.

/// Number of slots of an application.
pub const SLOTS: usize = 2;

/// State of a slot before the roll.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// True if its unit runs, or systemd is about to restart it.
    pub runs: bool,
    /// True if it runs the current definition. False for a unit that restarted by itself since it was recorded.
    pub current: bool,
}

/// Steps of the roll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The slot that runs in the end.
    pub slot: usize,
    /// True if its unit must be started.
    pub starts: bool,
    /// True if its unit must be stopped first, because both run and neither is current.
    pub clears: bool,
    /// True if the other slot runs meanwhile, and is stopped once this one is in the mesh.
    pub replaces: bool,
}

/// Returns the steps. `active` is the last active slot. A current instance is kept; a running one is only replaced by a
/// healthy one; and if nothing runs, as after a boot, the active slot is started again.
pub fn plan(slots: [Slot; SLOTS], active: usize) -> Plan {
    let active = active % SLOTS;
    let other = 1 - active;
    let is_good = |slot: usize| slots[slot].runs && slots[slot].current;
    if let Some(slot) = [active, other].into_iter().find(|slot| is_good(*slot)) {
        return Plan { slot, starts: false, clears: false, replaces: slots[1 - slot].runs };
    }
    match (slots[active].runs, slots[other].runs) {
        (false, false) => Plan { slot: active, starts: true, clears: false, replaces: false },
        (true, clears) => Plan { slot: other, starts: true, clears, replaces: true },
        (false, true) => Plan { slot: active, starts: true, clears: false, replaces: true },
    }
}

#[cfg(test)]
mod tests {
    use super::{Plan, Slot, plan};

    const FREE: Slot = Slot { runs: false, current: false };
    const OLD: Slot = Slot { runs: true, current: false };
    const NEW: Slot = Slot { runs: true, current: true };

    fn of(slots: [Slot; 2], active: usize) -> String {
        let Plan { slot, starts, clears, replaces } = plan(slots, active);
        let word = |flag, word: &'static str| if flag { word } else { "" };
        let words = [word(clears, "clear "), word(starts, "start "), word(replaces, "replace ")];
        format!("{}{slot}", words.concat())
    }

    #[test]
    fn what_is_old_is_replaced_by_the_other_slot() {
        assert_eq!(of([OLD, FREE], 0), "start replace 1");
        assert_eq!(of([FREE, OLD], 1), "start replace 0");
        assert_eq!(of([FREE, OLD], 0), "start replace 0", "even if the record names the other slot");
    }

    #[test]
    fn where_nothing_runs_the_slot_that_was_active_is_started_and_nothing_replaced() {
        assert_eq!(of([FREE, FREE], 0), "start 0");
        assert_eq!(of([FREE, FREE], 1), "start 1");
        assert_eq!(of([FREE, FREE], 7), "start 1", "an invalid record");
    }

    #[test]
    fn what_runs_and_is_current_stays() {
        assert_eq!(of([NEW, FREE], 0), "0");
        assert_eq!(of([FREE, NEW], 0), "1");
        assert_eq!(of([NEW, NEW], 1), "replace 1", "one is enough");
    }

    #[test]
    fn a_roll_that_was_cut_off_is_taken_up_where_it_is() {
        assert_eq!(of([OLD, NEW], 0), "replace 1", "the new one had been started");
        assert_eq!(of([NEW, OLD], 0), "replace 0", "it goes back to the one that still runs");
        assert_eq!(of([OLD, OLD], 0), "clear start replace 1", "the one that serves stays until a good one is there");
    }
}
