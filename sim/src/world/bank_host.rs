//! A bank's process: the production host on a memory journal and the memory bus.

use std::fmt::Write as _;

use grace_bus::{
    Message, Subscription,
    client::memory::{MemoryClient, MemoryNet},
};
use grace_kernel::{Host, HostError, process::wire};
use grace_store::{
    Journal, Seq, StoreError,
    memory::{Disk, MemoryJournal},
};
use grace_types::{
    chance::{Entropy, SeededEntropy},
    time::Clock,
};

use super::{World, bank_name, note};
use crate::bank::Bank;

/// Answers go to a subject, where one was asked for.
type Core = Host<Bank, Option<String>>;

/// See the module's page.
pub(super) struct BankHost {
    host: Core,
    journal: MemoryJournal,
    client: MemoryClient,
    inbox: Subscription,
    entropy: SeededEntropy,
}

impl BankHost {
    fn start(bank: usize, disk: &Disk, net: &MemoryNet, seed: u64) -> Result<Self, String> {
        let mut journal = MemoryJournal::open(disk).map_err(|e| e.to_string())?;
        let host = Host::load(bank_name(bank), &mut journal).map_err(|e| e.to_string())?;
        let client = net.client(&bank_name(bank)).map_err(|e| e.to_string())?;
        let inbox = client
            .subscribe_now(&wire::command_subject(&bank_name(bank)), Some("bank"))
            .map_err(|e| e.to_string())?;
        Ok(Self { host, journal, client, inbox, entropy: SeededEntropy::new(seed) })
    }

    pub(super) fn newest_snapshot(&mut self) -> Option<Seq> {
        self.journal.snapshots().ok()?.last().map(|info| info.seq)
    }

    fn answer(&self, reply: Option<String>, body: Vec<u8>) {
        // A reply that is refused or lost is the teller's to ask for again.
        let _ = reply.map(|reply| self.client.publish_now(&Message::new(reply, body)));
    }
}

impl World {
    /// Starts a host of `bank` in office (`slot` 0). The disk gets its power back.
    pub(super) fn start(&mut self, bank: usize, slot: usize) {
        if self.hosts[bank].iter().all(Option::is_none) {
            self.disks[bank].power_on(&mut self.entropy);
        }
        let seed = self.entropy.next_u64();
        match BankHost::start(bank, &self.disks[bank], &self.net, seed) {
            Ok(mut started) => {
                let notices = started.host.take_notices();
                self.counts.passed_over += notices.len() as u64;
                note!(
                    self,
                    "bank {bank} starts at record {}, epoch {}",
                    started.journal.last().0,
                    started.journal.epoch().0
                );
                for notice in notices {
                    note!(self, "bank {bank}: {notice}");
                }
                self.hosts[bank][slot] = Some(started);
            }
            // Whatever was done to it, a disk's journal must open: no fault here damages what was acknowledged.
            Err(e) => {
                note!(self, "bank {bank} cannot start: {e}");
                let sentence = format!("bank {bank} cannot start: {e}");
                if !self.broken.contains(&sentence) {
                    self.broken.push(sentence);
                }
            }
        }
    }

    pub(super) fn start_if_down(&mut self, bank: usize) {
        if self.hosts[bank][0].is_none() {
            self.start(bank, 0);
        }
    }

    /// A second host opens the journal while the first still runs and does not know.
    pub(super) fn take_over(&mut self, bank: usize) {
        if self.disks[bank].is_off() || self.hosts[bank][0].is_none() {
            return;
        }
        note!(self, "bank {bank} is taken over");
        self.hosts[bank][1] = self.hosts[bank][0].take();
        self.start(bank, 0);
    }

    pub(super) fn take_messages(&mut self, bank: usize, slot: usize) {
        let most = 1 + self.entropy.below(4);
        let Some(bank_host) = self.hosts[bank][slot].as_mut() else { return };
        for _ in 0..most {
            if bank_host.host.is_full() {
                return;
            }
            let Some(message) = bank_host.inbox.try_next() else { return };
            match wire::read_command::<Bank>(&message) {
                Ok(envelope) => {
                    let now = self.clock.now();
                    let key = envelope.key.clone().unwrap_or_default();
                    self.history.note(
                        self.step,
                        now.mono,
                        format_args!("bank {bank}/{slot} takes {key} {:?}", envelope.command),
                    );
                    bank_host.host.take(now, &mut bank_host.entropy, envelope, message.reply);
                }
                Err(e) => self.broken.push(format!("bank {bank} got what no teller sends: {e:?}")),
            }
        }
    }

    pub(super) fn commit(&mut self, bank: usize, slot: usize) {
        let Some(mut bank_host) = self.hosts[bank][slot].take() else { return };
        if bank_host.host.is_idle() {
            self.hosts[bank][slot] = Some(bank_host);
            return;
        }
        let released = bank_host.host.commit(&mut bank_host.journal);
        let mut line = String::new();
        for (seq, entry) in &released.entries {
            self.left.insert((bank, *seq, entry.id));
            let _ = write!(line, " {}={}", seq.0, entry.id);
        }
        note!(
            self,
            "bank {bank}/{slot} commits {} answers, receipts {:?}, records{line}",
            released.answers.len(),
            released.effects
        );
        if self.disks[bank].is_off() {
            // The process is gone with the power: whatever the host had to say, nobody hears it.
            drop(bank_host);
            self.counts.crashes += 1;
            self.hosts[bank] = [None, None];
            note!(self, "bank {bank} loses power in a write");
            return;
        }
        for (reply, answer) in released.answers {
            bank_host.answer(reply, wire::answer::<Bank>(&answer));
        }
        match released.error {
            Some(error @ StoreError::Fenced { .. }) => {
                self.counts.fenced += 1;
                note!(self, "bank {bank}/{slot} ends: {}", HostError::Fenced { detail: error.to_string() });
            }
            error => {
                if let Some(error) = error {
                    self.counts.failed_batches += 1;
                    note!(self, "bank {bank}/{slot} goes back: {error}");
                }
                self.hosts[bank][slot] = Some(bank_host);
            }
        }
    }

    pub(super) fn snapshot(&mut self, bank: usize) {
        let Some(mut bank_host) = self.hosts[bank][0].take() else { return };
        if bank_host.host.is_idle() {
            match bank_host.host.snapshot(&mut bank_host.journal) {
                Ok(info) => note!(self, "bank {bank} takes snapshot {} {}", info.seq.0, info.digest),
                Err(e) => note!(self, "bank {bank} takes no snapshot: {e}"),
            }
        }
        self.hosts[bank][0] = Some(bank_host);
        if self.disks[bank].is_off() {
            self.cut_the_power(bank, "in a snapshot");
        }
    }
}
