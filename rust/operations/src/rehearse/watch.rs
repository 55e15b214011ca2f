//! Events of a rehearsed operation: which the caller sees, and what they tell about its waves.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use machinist_model::NodeName;
use machinist_rollout::EventKind;
use serde::Serialize;

use super::figures::seconds;
use crate::event::{Event, Events};

/// Duration of a wave.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WaveTime {
    /// Its nodes.
    pub nodes: Vec<NodeName>,
    /// Time to the begin of the next one, or to the end of the rollout.
    #[serde(serialize_with = "seconds")]
    pub took: Duration,
}

/// Begin of each wave.
#[derive(Clone, Default)]
pub struct Waves(Arc<Mutex<Vec<Begin>>>);

/// Begin of a wave, and its nodes.
type Begin = (Instant, Vec<NodeName>);

impl Waves {
    /// Returns a receiver that notes the waves and passes all events on, except for those that are the caller's own: it
    /// hears of the begin and the end of a rollout, and of its report, from the rehearsal.
    pub fn listen(&self, to: &Events) -> Events {
        let (waves, to) = (self.clone(), to.clone());
        Events::new(move |event| match event {
            Event::RolloutStarted { .. } | Event::RolloutEnded | Event::Report { .. } => {}
            Event::Rollout(event) => {
                if let EventKind::Wave { wave, .. } = &event.kind {
                    waves.begins(Instant::now(), wave.nodes.clone());
                }
                to.send(Event::Rollout(event));
            }
            other => to.send(other),
        })
    }

    fn begins(&self, now: Instant, nodes: Vec<NodeName>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((now, nodes));
    }

    /// Returns the durations, for a rollout that ended at `end`.
    pub fn times(&self, end: Instant) -> Vec<WaveTime> {
        let waves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = waves.iter().skip(1).map(|(begin, _)| *begin).chain(std::iter::once(end));
        let time = |((begin, nodes), end): (&Begin, Instant)| WaveTime {
            nodes: nodes.clone(),
            took: end.saturating_duration_since(*begin),
        };
        waves.iter().zip(ends).map(time).collect()
    }
}

/// Returns a receiver for the preparations: steps on machines are details, problems and builds are not.
pub fn in_the_background(to: &Events) -> Events {
    let to = to.clone();
    Events::new(move |event| match event {
        Event::RolloutStarted { .. } | Event::RolloutEnded | Event::Report { .. } => {}
        Event::Rollout(event) => {
            let text = match event.kind {
                EventKind::Failed { text, .. } | EventKind::Note { text } => text,
                EventKind::Step { text } | EventKind::Done { text } => text,
                EventKind::Wave { .. } | EventKind::Copied { .. } | EventKind::Arrived { .. } => return,
            };
            to.detail(event.node.map_or_else(|| text.clone(), |node| format!("{node} {text}")));
        }
        Event::Progress { text } | Event::Remark { text } => to.detail(text),
        Event::Note { node, text } => to.detail(node.map_or_else(|| text.clone(), |node| format!("{node} {text}"))),
        other => to.send(other),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::{Duration, Instant};

    use machinist_model::NodeName;

    use super::Waves;

    #[test]
    fn a_wave_lasts_until_the_next_one_begins_and_the_last_one_until_the_end() {
        let waves = Waves::default();
        let begin = Instant::now();
        for (name, second) in [("a", 0), ("b", 5)] {
            waves.begins(begin + Duration::from_secs(second), vec![NodeName::parse(name).unwrap()]);
        }
        let times = waves.times(begin + Duration::from_secs(7));
        assert_eq!(times.iter().map(|wave| wave.took.as_secs()).collect::<Vec<_>>(), [5, 2]);
        assert_eq!(times[1].nodes[0].as_str(), "b");
        assert!(Waves::default().times(begin).is_empty());
    }
}
