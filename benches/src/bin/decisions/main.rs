//! What a decision of the cortex costs: policies, tier, score and reasons, against Cedar's bare call on the same policies.
//!
//! Twenty policies over ten types of intents and three kinds of actors; requests cycle through fifty actors, who ask for every type. Four of
//! five ask for what their kind may, under a condition that has to be evaluated. One thread, in turn:
//! - cedar, ready: the request and the entities are there already
//! - cedar, built: the request is built each time, as somebody must
//! - ruling: the policies' answer by slices, request built
//! - judgement: the ruling with tier, score, reasons and advice
//! - with `--features peers`: the same rules in Rego, by regorus's interpreter and its machine, and in casbin; each gives the same answers
//!
//! `cargo run --release -p grace-benches --bin decisions [--features peers] [-- --seconds S] [--rounds N]`
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark that cannot run should say so and stop"
)]

#[cfg(feature = "peers")]
mod peers;

use std::{
    fmt::Write as _,
    hint::black_box,
    path::Path,
    time::{Duration, Instant},
};

use cedar_policy::{
    Authorizer, Context, Entities, Entity, EntityUid, PolicySet, Request as CedarRequest,
    RestrictedExpression,
};
use grace_cortex::{
    charter::{self, Charter},
    judge::{Standing, judge},
    policy::Policies,
    request::{Actor, ActorKind, Circumstances, Request},
};

const ACTORS: usize = 50;
const TYPES: usize = 10;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let given = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1));
    let seconds: f64 = given("--seconds").map_or(0.5, |n| n.parse().expect("--seconds takes a number"));
    let rounds: usize = given("--rounds").map_or(5, |n| n.parse().expect("--rounds takes a number"));
    let time = Duration::from_secs_f64(seconds);

    let declared: Vec<String> = (0..TYPES).map(|n| format!("type_{n}")).collect();
    let text = policies();
    let own = Policies::read(&[("bench.cedar", text.as_str())], &declared).expect("the policies are good");
    let charter = Charter::read(charter::DEFAULT, Path::new("charter.yaml")).expect("the charter is good");
    let set: PolicySet = text.parse().expect("the policies are good");
    let requests: Vec<Request> = (0..ACTORS * TYPES).map(request).collect();
    let (authorizer, entities) = (Authorizer::new(), entities(&declared));
    let ready: Vec<CedarRequest> = requests.iter().map(cedar).collect();
    let standing = Standing::default();

    let peers = others(&requests);
    for (n, request) in ready.iter().enumerate() {
        let allowed =
            authorizer.is_authorized(request, &set, &entities).decision() == cedar_policy::Decision::Allow;
        for peer in &peers {
            assert_eq!((peer.decide)(n), allowed, "{} on {:?}", peer.name, requests[n]);
        }
    }
    let own_names = ["cedar, request ready", "cedar, request built", "ruling by slices", "whole judgement"];
    let names: Vec<&str> = own_names.into_iter().chain(peers.iter().map(|peer| peer.name)).collect();
    let mut figures = vec![Vec::new(); names.len()];
    for _ in 0..rounds {
        let mut each = |n: usize, work: &dyn Fn(usize)| figures[n].push(rate(time, work));
        each(0, &|n| {
            black_box(authorizer.is_authorized(&ready[n % ready.len()], &set, &entities));
        });
        each(1, &|n| {
            black_box(authorizer.is_authorized(&cedar(&requests[n % requests.len()]), &set, &entities));
        });
        each(2, &|n| {
            black_box(own.rule(&requests[n % requests.len()]));
        });
        each(3, &|n| {
            black_box(judge(&requests[n % requests.len()], &own, &charter, &standing));
        });
        for (at, peer) in peers.iter().enumerate() {
            each(4 + at, &|n| {
                black_box((peer.decide)(n));
            });
        }
    }
    println!(
        "20 policies, {ACTORS} actors, {rounds} rounds in turn; median [min – max] decisions a second, one thread\n"
    );
    let medians: Vec<f64> =
        names.iter().zip(&mut figures).map(|(name, figures)| row(name, figures)).collect();
    println!("whole judgement / cedar, request ready: {:.2}", medians[3] / medians[0]);
    println!("whole judgement / cedar, request built: {:.2}", medians[3] / medians[1]);
    for (name, median) in names.iter().zip(&medians).skip(4) {
        println!("whole judgement / {name}: {:.2}", medians[3] / median);
    }
}

fn row(name: &str, figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    let median = figures[figures.len() / 2];
    println!("{name:<22} {median:>9.0}  [{:.0} – {:.0}]", figures[0], figures[figures.len() - 1]);
    median
}

fn rate(time: Duration, work: &dyn Fn(usize)) -> f64 {
    let (start, mut done) = (Instant::now(), 0);
    while start.elapsed() < time {
        for _ in 0..64 {
            work(done);
            done += 1;
        }
    }
    done as f64 / start.elapsed().as_secs_f64()
}

/// Another engine with the same rules: whether it allows a request, by its number.
struct Peer {
    name: &'static str,
    decide: Box<dyn Fn(usize) -> bool>,
}

#[cfg(feature = "peers")]
fn others(requests: &[Request]) -> Vec<Peer> {
    peers::all(requests)
}

#[cfg(not(feature = "peers"))]
fn others(_: &[Request]) -> Vec<Peer> {
    Vec::new()
}

/// The kind of actor that may ask for the `n`th type.
fn kind_of_type(n: usize) -> &'static str {
    ["Operator", "Agent", "Program"][n % 3]
}

fn policies() -> String {
    let mut text = String::from(
        "@id(\"governed\") @tier(\"0\") permit (principal is Operator, action == Action::\"modify_governance\", resource);\n",
    );
    for n in 0..TYPES {
        let (kind, tier) = (kind_of_type(n), n % 3);
        writeln!(
            text,
            "@id(\"type-{n}\") @tier(\"{tier}\") permit (principal is {kind}, action == Action::\"type_{n}\", resource) when {{ context.revenue_percent < 90 }};"
        )
        .unwrap();
    }
    for n in 0..8 {
        writeln!(
            text,
            "@id(\"actor-{n}\") forbid (principal == Agent::\"actor-{n}\", action, resource) when {{ context.emergency }};"
        )
        .unwrap();
    }
    text.push_str("@id(\"office\") @tier(\"1\") permit (principal is Operator, action in Action::\"declared\", resource);\n");
    text
}

fn request(n: usize) -> Request {
    let (nth, actor) = (n % TYPES, n / TYPES % ACTORS);
    let asks_for_its_own = !actor.is_multiple_of(5);
    let kind = [ActorKind::Operator, ActorKind::Agent, ActorKind::Program]
        [if asks_for_its_own { nth % 3 } else { (nth + 1) % 3 }];
    Request {
        actor: Actor { kind, name: format!("actor-{actor}") },
        kind: format!("type_{nth}"),
        target: "web".to_owned(),
        circumstances: Circumstances {
            user_facing: n.is_multiple_of(2),
            emergency: n.is_multiple_of(7),
            revenue_impact: 0.5,
        },
    }
}

fn uid(kind: &str, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.parse().unwrap(), cedar_policy::EntityId::new(id))
}

fn cedar(request: &Request) -> CedarRequest {
    let of = &request.circumstances;
    let context = Context::from_pairs([
        ("user_facing".to_owned(), RestrictedExpression::new_bool(of.user_facing)),
        ("emergency".to_owned(), RestrictedExpression::new_bool(of.emergency)),
        ("revenue_percent".to_owned(), RestrictedExpression::new_long(50)),
    ])
    .unwrap();
    let (actor, action) =
        (uid(request.actor.kind.entity_type(), &request.actor.name), uid("Action", &request.kind));
    CedarRequest::new(actor, action, uid("Target", &request.target), context, None).unwrap()
}

fn entities(declared: &[String]) -> Entities {
    let group = uid("Action", "declared");
    let actions =
        declared.iter().map(|name| Entity::new_no_attrs(uid("Action", name), [group.clone()].into()));
    let actors = (0..ACTORS).map(|n| Entity::new_no_attrs(uid("Agent", &format!("actor-{n}")), [].into()));
    let all = actions.chain(actors).chain([Entity::new_no_attrs(group.clone(), [].into())]);
    Entities::from_entities(all, None).unwrap()
}
