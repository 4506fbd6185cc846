//! A teller: asks for one operation at a time, and asks again under the same key until it has an answer.

use std::time::Duration;

use grace_bus::client::memory::{MemoryClient, MemoryNet, PendingAnswer};
use grace_kernel::{Envelope, process::wire};
use grace_types::{
    chance::{Entropy, SeededEntropy},
    time::{Clock, Monotonic},
};

use super::{BANKS, World, bank_name, note};
use crate::{
    bank::{Bank, Command},
    check::{self, Operation},
};

/// Virtual time after which a teller asks again.
const PATIENCE: Duration = Duration::from_millis(150);

/// See the module's page.
pub(super) struct Teller {
    client: MemoryClient,
    with_keys: bool,
    /// The operation under way, by its index.
    asked: Option<usize>,
    pending: Option<(PendingAnswer, Monotonic)>,
}

impl Teller {
    pub(super) fn new(net: &MemoryNet, with_keys: bool) -> Self {
        let client = net.client("teller").unwrap_or_else(|e| unreachable!("the users are fixed: {e}"));
        Self { client, with_keys, asked: None, pending: None }
    }

    pub(super) const fn is_idle(&self) -> bool {
        self.asked.is_none()
    }

    /// The number of the operation that it has no answer for.
    pub(super) fn waits_for(&self) -> Option<u64> {
        self.asked.map(|index| index as u64)
    }
}

impl World {
    pub(super) fn teller_acts(&mut self, which: usize) {
        let now = self.clock.now().mono;
        let teller = &mut self.tellers[which];
        let Some(index) = teller.asked else {
            if !self.healed {
                self.ask_for_something(which);
            }
            return;
        };
        match teller.pending.as_mut().and_then(|(pending, _)| pending.try_take()) {
            Some(Ok(message)) => {
                teller.pending = None;
                let answer = wire::read_answer::<Bank>(&message.payload);
                note!(self, "teller {which} hears of {index}: {answer:?}");
                if let Ok(outcome) = answer {
                    self.operations[index].heard = Some(outcome);
                    self.tellers[which].asked = None;
                    self.counts.answered += 1;
                }
                return;
            }
            Some(Err(_)) => teller.pending = None,
            None => {}
        }
        let patient = teller.pending.as_ref().is_some_and(|(_, since)| now.since(*since) < PATIENCE);
        if !patient {
            self.counts.retries += 1;
            self.send(which, index);
        }
    }

    fn ask_for_something(&mut self, which: usize) {
        let operation = self.operations.len() as u64;
        let account = |entropy: &mut SeededEntropy| u8::try_from(entropy.below(4)).unwrap_or(0);
        let (from, to) = (account(&mut self.entropy), account(&mut self.entropy));
        let amount = 1 + self.entropy.below(100);
        let command = match self.entropy.below(5) {
            0 | 1 => Command::Deposit { operation, to, amount },
            2 | 3 => Command::Transfer { operation, from, to, amount },
            _ => Command::Balance { of: from },
        };
        let bank = self.draw(BANKS);
        note!(self, "teller {which} wants {operation} of bank {bank}: {command:?}");
        self.operations.push(Operation { number: operation, bank, command, heard: None });
        let index = self.operations.len() - 1;
        self.tellers[which].asked = Some(index);
        self.send(which, index);
    }

    fn send(&mut self, which: usize, index: usize) {
        let operation = &self.operations[index];
        let teller = &mut self.tellers[which];
        let mut envelope = Envelope::new(operation.command.clone());
        if teller.with_keys {
            envelope = envelope.with_key(check::key(operation.number));
        }
        let asked = wire::command(&bank_name(operation.bank), &envelope)
            .map_err(|e| e.to_string())
            .and_then(|message| teller.client.request_now(message).map_err(|e| e.to_string()));
        match asked {
            Ok(pending) => teller.pending = Some((pending, self.clock.now().mono)),
            Err(e) => note!(self, "teller {which} cannot ask: {e}"),
        }
    }
}
