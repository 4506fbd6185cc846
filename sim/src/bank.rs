//! The sample decider: accounts, deposits, transfers that may not overdraw.
//!
//! Each operation carries the number under which its teller keeps it, so that the checker can tell an operation that was
//! applied twice from two operations alike.

use std::{collections::BTreeMap, fmt};

use grace_kernel::{Decider, Decision, Recorded};
use grace_types::{reason::Why, time::Now};
use serde::{Deserialize, Serialize};

/// See the module's page.
pub enum Bank {}

/// Balances by account, in cents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounts {
    /// Never negative.
    pub balances: BTreeMap<u8, u64>,
}

/// What a teller can ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Puts money on an account.
    Deposit {
        /// The teller's number for this operation.
        operation: u64,
        /// The account.
        to: u8,
        /// In cents.
        amount: u64,
    },
    /// Moves money.
    Transfer {
        /// The teller's number for this operation.
        operation: u64,
        /// The account that pays.
        from: u8,
        /// The account that gets it.
        to: u8,
        /// In cents.
        amount: u64,
    },
    /// Asks for a balance.
    Balance {
        /// The account.
        of: u8,
    },
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Money was put on an account.
    Deposited {
        /// The teller's number for this operation.
        operation: u64,
        /// The account.
        to: u8,
        /// In cents.
        amount: u64,
    },
    /// Money left an account, on its way to another of the same bank.
    Withdrawn {
        /// The teller's number for this operation.
        operation: u64,
        /// The account.
        from: u8,
        /// In cents.
        amount: u64,
    },
}

impl Event {
    /// The teller's number for the operation.
    #[must_use]
    pub const fn operation(&self) -> u64 {
        match self {
            Self::Deposited { operation, .. } | Self::Withdrawn { operation, .. } => *operation,
        }
    }
}

/// Why money did not move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// There is not enough on the account.
    Overdrawn {
        /// What there is, in cents.
        balance: u64,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overdrawn { balance } => write!(f, "the account holds only {balance} cents"),
        }
    }
}

impl Decider for Bank {
    type State = Accounts;
    type Command = Command;
    type Event = Event;
    type Reply = u64;
    type Refusal = Refusal;
    /// A receipt, by the operation's number.
    type Effect = u64;

    fn decide(state: &Accounts, _now: Now, command: &Command) -> Decision<Self> {
        let balance = |account: u8| state.balances.get(&account).copied().unwrap_or(0);
        match *command {
            Command::Balance { of } => Decision::reply(balance(of)),
            Command::Deposit { operation, to, amount } => {
                let why = Why::because("deposit.asked", format!("operation {operation} pays in {amount}"));
                Decision::reply(balance(to) + amount).record(deposited(operation, to, amount, why))
            }
            Command::Transfer { operation, from, to, amount } => {
                if balance(from) < amount {
                    return Decision::refuse(Refusal::Overdrawn { balance: balance(from) });
                }
                let why = Why::because("transfer.asked", format!("operation {operation} moves {amount}"))
                    .and("transfer.covered", format!("account {from} holds {}", balance(from)));
                let withdrawn = Event::Withdrawn { operation, from, amount };
                Decision::reply(balance(from) - amount)
                    .record(Recorded::new(withdrawn, format!("account {from}"), "ledger", why.clone()))
                    .record(deposited(operation, to, amount, why))
            }
        }
    }

    fn evolve(state: &mut Accounts, event: &Event) {
        match *event {
            Event::Deposited { to, amount, .. } => *state.balances.entry(to).or_default() += amount,
            Event::Withdrawn { from, amount, .. } => {
                let balance = state.balances.entry(from).or_default();
                *balance = balance.saturating_sub(amount);
            }
        }
    }

    fn effects(_state: &Accounts, event: &Recorded<Event>) -> Vec<u64> {
        match event.event() {
            Event::Deposited { operation, .. } => vec![*operation],
            Event::Withdrawn { .. } => Vec::new(),
        }
    }

    fn what(event: &Event) -> &'static str {
        match event {
            Event::Deposited { .. } => "deposited",
            Event::Withdrawn { .. } => "withdrawn",
        }
    }
}

fn deposited(operation: u64, to: u8, amount: u64, why: Why) -> Recorded<Event> {
    Recorded::new(Event::Deposited { operation, to, amount }, format!("account {to}"), "ledger", why)
}
