//! The simulated world: banks on disks, tellers, wires, one clock, one seed.
//!
//! Each step does one small thing, chosen by the seed: a message arrives, a host takes messages, a host commits, a teller
//! asks or asks again, time passes, or something breaks. At the end the faults stop, and everything gets the time to
//! finish that a recovering system must be able to use.

mod bank_host;
mod teller;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use grace_bus::{
    auth::{AllowResponses, AuthTable, Credential, User},
    client::memory::{Faults, MemoryCounts, MemoryNet},
};
use grace_store::memory::{Disk, Fault};
use grace_types::{
    chance::{Entropy, SeededEntropy},
    manifest::Permissions,
    time::{Clock, ManualClock, Timestamp},
};

use crate::{
    check::{self, Left, Operation},
    history::{History, Report},
};
use bank_host::BankHost;
use teller::Teller;

/// Banks, each with a disk of its own.
const BANKS: usize = 2;
/// Tellers, each with one operation under way.
const TELLERS: usize = 6;
/// Steps that a healed world has to answer everything: far more than it needs.
const STEPS_TO_HEAL: u64 = 20_000;

/// What to simulate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Chooses everything.
    pub seed: u64,
    /// Steps with faults.
    pub steps: u64,
    /// A mistake to make on purpose, to prove that the checker notices.
    pub mistake: Option<Mistake>,
}

/// Mistakes that a system like this one can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// The disks acknowledge what they have not synced.
    LyingDisks,
    /// Tellers ask again without their key.
    ForgottenKeys,
}

/// How much happened: a run in which nothing broke proves nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Operations answered.
    pub answered: u64,
    /// Times that a teller asked again.
    pub retries: u64,
    /// Power cuts, at a moment of rest or in the middle of a write.
    pub crashes: u64,
    /// Hosts that were fenced by another.
    pub fenced: u64,
    /// Batches that a disk refused.
    pub failed_batches: u64,
    /// Damaged snapshots that a start passed over.
    pub passed_over: u64,
    /// Deliveries lost on the wires.
    pub dropped: u64,
    /// Deliveries doubled on the wires.
    pub duplicated: u64,
    /// Deliveries that overtook others.
    pub reordered: u64,
}

/// Everything that moves.
struct World {
    clock: ManualClock,
    net: MemoryNet,
    entropy: SeededEntropy,
    disks: Vec<Disk>,
    /// By bank: the host in office, and one that was replaced and does not know it yet.
    hosts: Vec<[Option<BankHost>; 2]>,
    tellers: Vec<Teller>,
    operations: Vec<Operation>,
    left: BTreeSet<Left>,
    history: History,
    counts: Counts,
    broken: Vec<String>,
    step: u64,
    healed: bool,
}

/// Runs one world to its end.
#[must_use]
pub fn run(options: Options) -> Report<Counts> {
    let mut world = World::new(options);
    for bank in 0..BANKS {
        world.start(bank, 0);
    }
    while world.step < options.steps {
        world.step += 1;
        world.turn();
    }
    world.heal();
    let disks = std::mem::take(&mut world.disks);
    let mut broken = std::mem::take(&mut world.broken);
    broken.extend(check::broken_promises(&disks, &world.operations, &world.left));
    let MemoryCounts { dropped, duplicated, reordered, .. } = world.net.counts();
    let counts = Counts { dropped, duplicated, reordered, ..world.counts };
    let (history, digest) = world.history.finish();
    Report { history, digest, broken, counts }
}

macro_rules! note {
    ($world:expr, $($arg:tt)*) => {
        $world.history.note($world.step, $world.clock.now().mono, format_args!($($arg)*))
    };
}
use note;

impl World {
    fn new(options: Options) -> Self {
        let clock = ManualClock::starting_at(Timestamp::from_nanos(1_764_000_000_000_000_000));
        let mut entropy = SeededEntropy::new(options.seed);
        let net = MemoryNet::new(&users(), entropy.next_u64(), Arc::new(clock.clone()))
            .unwrap_or_else(|e| unreachable!("the users are fixed: {e}"));
        net.step_by_step();
        let share = |entropy: &mut SeededEntropy| entropy.unit() * 0.2;
        net.set_faults(Faults {
            drop: share(&mut entropy),
            duplicate: share(&mut entropy),
            reorder: share(&mut entropy),
            delay_min: Duration::ZERO,
            delay_max: Duration::from_millis(entropy.below(40)),
        });
        let disks: Vec<Disk> = (0..BANKS).map(|_| Disk::new()).collect();
        if options.mistake == Some(Mistake::LyingDisks) {
            disks.iter().for_each(Disk::lie_about_syncs);
        }
        let with_keys = options.mistake != Some(Mistake::ForgottenKeys);
        let tellers = (0..TELLERS).map(|_| Teller::new(&net, with_keys)).collect();
        Self {
            clock,
            net,
            entropy,
            disks,
            hosts: (0..BANKS).map(|_| [None, None]).collect(),
            tellers,
            operations: Vec::new(),
            left: BTreeSet::new(),
            history: History::default(),
            counts: Counts::default(),
            broken: Vec::new(),
            step: 0,
            healed: false,
        }
    }

    /// One thing happens.
    fn turn(&mut self) {
        let bank = self.draw(BANKS);
        let slot = usize::from(self.entropy.below(4) == 0);
        match self.entropy.below(1000) {
            0..300 => self.deliver(),
            300..500 => self.take_messages(bank, slot),
            500..660 => self.commit(bank, slot),
            660..880 => {
                let teller = self.draw(TELLERS);
                self.teller_acts(teller);
            }
            880..940 => self.let_time_pass(),
            940..980 => self.start_if_down(bank),
            980..986 => self.snapshot(bank),
            986..991 => self.break_a_disk(bank),
            991..994 => self.cut_the_power(bank, "at rest"),
            994..998 => self.take_over(bank),
            _ => self.damage_a_snapshot(bank),
        }
    }

    fn draw(&mut self, bound: usize) -> usize {
        usize::try_from(self.entropy.below(bound as u64)).unwrap_or(0)
    }

    fn deliver(&mut self) {
        for _ in 0..=self.entropy.below(3) {
            let Some(delivered) = self.net.deliver_next() else { return };
            note!(self, "{} gets {}", delivered.user, delivered.message.subject);
        }
    }

    fn let_time_pass(&mut self) {
        let millis = 1 + self.entropy.below(20);
        self.clock.advance(Duration::from_millis(millis));
    }

    fn break_a_disk(&mut self, bank: usize) {
        let faults =
            [Fault::Full, Fault::Io, Fault::IoAfterSync, Fault::CrashBeforeSync, Fault::CrashAfterSync];
        let fault = faults[self.draw(faults.len())];
        self.disks[bank].inject(fault);
        note!(self, "the next write of bank {bank} meets {fault:?}");
    }

    fn cut_the_power(&mut self, bank: usize, when: &str) {
        if self.hosts[bank].iter().all(Option::is_none) {
            return;
        }
        self.hosts[bank] = [None, None];
        self.counts.crashes += 1;
        note!(self, "bank {bank} loses power {when}");
    }

    fn damage_a_snapshot(&mut self, bank: usize) {
        let bit = self.draw(400);
        let Some(seq) = self.hosts[bank][0].as_mut().and_then(BankHost::newest_snapshot) else { return };
        self.disks[bank].flip_snapshot_bit(seq, bit);
        note!(self, "bit {bit} of snapshot {} of bank {bank} flips", seq.0);
    }

    /// Faults stop; everything gets the time to finish.
    fn heal(&mut self) {
        self.healed = true;
        self.net.set_faults(Faults::default());
        self.disks.iter().for_each(Disk::clear_faults);
        note!(self, "the faults stop");
        let end = self.step + STEPS_TO_HEAL;
        while self.step < end && !self.tellers.iter().all(Teller::is_idle) {
            self.step += 1;
            let bank = self.draw(BANKS);
            match self.entropy.below(8) {
                0..3 => self.deliver(),
                3 => self.take_messages(bank, 0),
                4 => self.commit(bank, 0),
                5 => {
                    let teller = self.draw(TELLERS);
                    self.teller_acts(teller);
                }
                6 => self.let_time_pass(),
                _ => self.start_if_down(bank),
            }
        }
        for teller in &self.tellers {
            if let Some(operation) = teller.waits_for() {
                self.broken.push(format!("operation {operation} is never answered, with all faults over"));
            }
        }
    }
}

/// Default deny, as in production: a bank hears its commands and may answer them, a teller asks.
fn users() -> AuthTable {
    let user = |name: String, publish: &[&str], subscribe: &[&str]| User {
        credential: Credential::of_password(&name),
        name,
        permissions: Permissions::only(publish.iter().copied(), subscribe.iter().copied()),
        allow_responses: Some(AllowResponses::DEFAULT),
    };
    let banks =
        (0..BANKS).map(|bank| user(bank_name(bank), &[], &[&format!("grace.cmd.{}", bank_name(bank))]));
    let teller = user("teller".to_owned(), &["grace.cmd.>"], &["_INBOX.>"]);
    AuthTable { users: banks.chain([teller]).collect() }
}

fn bank_name(bank: usize) -> String {
    format!("bank_{bank}")
}
