//! What the control plane tells, as it concerns addresses: the way in that the router and the simulator share.

use super::Ipam;
use crate::control::{Control, Output};
use crate::ids::PeerId;
use crate::time::Instant;
use crate::wire::topic::Topic;

const TOPIC: Topic = Topic::ADDRESSES;

impl Ipam {
    /// Takes note of an effect of the control plane. What is malformed in it is counted, and changes nothing.
    pub fn hear(&mut self, output: &Output, control: &Control, now: Instant) {
        match output {
            Output::Said(key) if key.topic == TOPIC => {
                self.hear_statement(key.origin, control, now);
            }
            Output::Reach => {
                for said in control.said(TOPIC) {
                    self.set_reachable(said.origin, said.reachable, now);
                }
            }
            Output::Told { from, topic, body } if *topic == TOPIC => {
                let _ = self.handle_message(*from, body, now);
            }
            Output::Targets(targets) => self.set_expecting(!targets.is_empty(), now),
            Output::Epoch(epoch) => self.raise_epoch(*epoch, now),
            _ => {}
        }
    }

    fn hear_statement(&mut self, origin: PeerId, control: &Control, now: Instant) {
        let said = control.said_by(origin, TOPIC);
        match said.filter(|said| !said.body.is_empty()) {
            Some(said) => {
                let _ = self.handle_statement(origin, said.body, said.reachable, now);
            }
            // It was started anew and has not spoken yet, or takes no part any more.
            None => self.set_reachable(origin, false, now),
        }
    }
}
