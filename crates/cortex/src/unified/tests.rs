//! Ballots in any order, from any set of voters.

use grace_log::note::SignerKey;
use grace_types::{
    chance::SeededEntropy,
    intent::{Era, IntentId, asked::Circumstances},
};
use proptest::prelude::*;

use super::*;

const UNTIL: Timestamp = Timestamp::from_nanos(60_000_000_000);
const NOW: Timestamp = Timestamp::from_nanos(1_000_000_000);
const NAMES: [&str; 6] =
    ["clarity", "governance", "health_monitor", "immutable_log", "layer2_watchdog", "self_healing"];

fn key(name: &str) -> SignerKey {
    SignerKey::generate(name, &mut SeededEntropy::new(name.len() as u64)).unwrap()
}

/// So many voters, with these weights; `governance` has the veto.
fn electorate(weights: &[u32]) -> Electorate {
    let voter = |(name, weight): (&&str, &u32)| {
        let key = key(name).verifier().to_string();
        ((*name).to_owned(), Voter { weight: *weight, veto: *name == "governance", key })
    };
    Electorate::new(NAMES.iter().zip(weights).map(voter).collect()).unwrap()
}

fn proposal() -> Proposal {
    Proposal {
        intent: IntentId::new(Era::from_bits(7), 42),
        digest: "9f86".to_owned(),
        kind: "self_improve".to_owned(),
        actor: "ana".to_owned(),
        actor_kind: "operator".to_owned(),
        target: "instance".to_owned(),
        circumstances: Circumstances::default(),
        since: Timestamp::from_nanos(0),
        until: UNTIL,
    }
}

fn note(name: &str, vote: Vote) -> String {
    Ballot::sign(&proposal(), vote, &[Reason::new("seen", "it is so")], NOW, &key(name))
}

fn cast(poll: &mut Poll, name: &str, vote: Vote) {
    let note = note(name, vote);
    let ballot = poll.check(&note, name, NOW).unwrap().unwrap();
    poll.add(ballot.voter, note);
}

fn poll(electorate: &Electorate, votes: &[(&str, Vote)]) -> Poll {
    let mut poll = Poll::open(proposal(), electorate.voters().clone());
    votes.iter().for_each(|(name, vote)| cast(&mut poll, name, *vote));
    poll
}

fn why(count: &Count) -> &str {
    &count.reasons.last().unwrap().code
}

#[test]
fn a_majority_with_the_veto_holder_carries_before_the_time_is_over() {
    let all = electorate(&[1; 5]);
    let mut poll =
        poll(&all, &[("clarity", Vote::Yes), ("health_monitor", Vote::Yes), ("immutable_log", Vote::Yes)]);
    assert_eq!(poll.count(NOW).standing, Standing::Open, "the veto holder may still say no");
    assert_eq!(why(&poll.count(UNTIL)), "vote.silent");
    cast(&mut poll, "governance", Vote::Abstain);
    let count = poll.count(NOW);
    assert_eq!(count.standing, Standing::Carried);
    assert!(
        count.reasons.iter().any(|reason| reason.text == "clarity (weight 1) says yes: it is so"),
        "{count:?}"
    );
}

#[test]
fn what_has_no_majority_is_lost() {
    let all = electorate(&[1; 5]);
    let (yes, no, abstain) = (Vote::Yes, Vote::No, Vote::Abstain);
    let count = |votes: &[(&str, Vote)], now| poll(&all, votes).count(now);
    let veto = count(&[("governance", no)], NOW);
    assert_eq!((veto.standing, why(&veto)), (Standing::Lost, "vote.veto"));
    let silence = count(&[], UNTIL);
    assert_eq!((silence.standing, why(&silence)), (Standing::Lost, "vote.quorum"));
    let two = count(&[("governance", yes), ("clarity", yes)], UNTIL);
    assert_eq!((two.standing, why(&two)), (Standing::Lost, "vote.quorum"));
    let shrugs =
        [("governance", yes), ("clarity", abstain), ("health_monitor", abstain), ("immutable_log", abstain)];
    let shrugs = count(&shrugs, NOW);
    assert_eq!((shrugs.standing, why(&shrugs)), (Standing::Lost, "vote.quorum"));
    let tie =
        count(&[("governance", yes), ("clarity", yes), ("health_monitor", no), ("immutable_log", no)], UNTIL);
    assert_eq!((tie.standing, why(&tie)), (Standing::Lost, "vote.majority"));
    let few = electorate(&[1; 4]);
    let few = poll(&few, &[("governance", yes), ("clarity", yes), ("health_monitor", yes)]).count(UNTIL);
    assert_eq!((few.standing, why(&few)), (Standing::Lost, "vote.electorate"));
}

#[test]
fn a_ballot_counts_once_in_time_and_on_its_own_proposal() {
    let all = electorate(&[1; 5]);
    let poll = poll(&all, &[("clarity", Vote::Yes)]);
    assert_eq!(poll.check(&note("clarity", Vote::Yes), "clarity", NOW), Ok(None), "the same again");
    assert_eq!(
        poll.check(&note("clarity", Vote::No), "clarity", NOW),
        Err(NotCounted::Twice("clarity".into()))
    );
    assert_eq!(poll.check(&note("governance", Vote::Yes), "governance", UNTIL), Err(NotCounted::Over(UNTIL)));
    let other = Proposal { digest: "0000".into(), ..proposal() };
    let other = Ballot::sign(&other, Vote::Yes, &[Reason::new("a", "b")], NOW, &key("governance"));
    assert_eq!(poll.check(&other, "governance", NOW), Err(NotCounted::Other));
    assert!(matches!(
        poll.check(&note("self_healing", Vote::Yes), "self_healing", NOW),
        Err(NotCounted::Ballot(_))
    ));
}

#[test]
fn nobody_votes_for_another() {
    let poll = poll(&electorate(&[1; 5]), &[]);
    let lie = poll.check(&note("governance", Vote::Yes), "clarity", NOW).unwrap_err();
    assert_eq!(
        (lie.code(), lie.to_string().contains("clarity sent a ballot that governance signed")),
        ("ballot.identity", true)
    );
    // Signed by itself under another's name: no key of that name made it.
    let own = SignerKey::generate("governance", &mut SeededEntropy::new(99)).unwrap();
    let lie = Ballot::sign(&proposal(), Vote::Yes, &[Reason::new("a", "b")], NOW, &own);
    assert_eq!(poll.check(&lie, "clarity", NOW).unwrap_err().code(), "ballot.unsound");
}

#[test]
fn whoever_becomes_known_late_still_votes_and_a_second_key_does_not() {
    let mut poll = poll(&electorate(&[1; 4]), &[]);
    assert_eq!(poll.count(NOW).standing, Standing::Open, "one more may become known");
    assert!(poll.check(&note("layer2_watchdog", Vote::Yes), "layer2_watchdog", NOW).is_err());
    let late = voter("layer2_watchdog", &key("layer2_watchdog").verifier().to_string()).unwrap();
    poll.join("layer2_watchdog", &late);
    cast(&mut poll, "layer2_watchdog", Vote::Yes);
    let other = SignerKey::generate("layer2_watchdog", &mut SeededEntropy::new(99)).unwrap();
    poll.join("layer2_watchdog", &voter("layer2_watchdog", &other.verifier().to_string()).unwrap());
    assert_eq!(poll.voters["layer2_watchdog"], late);
    assert!(voter("htm", &key("htm").verifier().to_string()).unwrap_err().to_string().contains("no vote"));
}

#[test]
fn a_voter_with_anothers_key_is_none() {
    let voter =
        |key: String, weight| BTreeMap::from([("clarity".to_owned(), Voter { weight, veto: false, key })]);
    let own = key("clarity").verifier().to_string();
    for (key, weight, says) in [
        (key("governance").verifier().to_string(), 1, "its key is governance's"),
        (own.clone(), 0, "a weight is 1 to 1000, found 0"),
        ("nonsense".to_owned(), 1, "not a key"),
    ] {
        let said = Electorate::new(voter(key, weight)).unwrap_err().to_string();
        assert!(said.starts_with("the voter clarity: ") && said.contains(says), "{said}");
    }
    Electorate::new(voter(own, 1)).unwrap();
}

fn vote() -> impl Strategy<Value = Option<Vote>> {
    prop_oneof![Just(None), Just(Some(Vote::Yes)), Just(Some(Vote::No)), Just(Some(Vote::Abstain))]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_is_carried_has_quorum_and_majority_and_no_veto_and_is_not_overturned(
        weights in proptest::collection::vec(1u32..5, 4..=6),
        votes in proptest::collection::vec(vote(), 6),
        later in proptest::collection::vec(vote(), 6),
    ) {
        let all = electorate(&weights);
        let names = &NAMES[..weights.len()];
        let given = |votes: &[Option<Vote>]| -> Vec<(&str, Vote)> {
            names.iter().zip(votes).filter_map(|(name, vote)| vote.map(|vote| (*name, vote))).collect()
        };
        let first = poll(&all, &given(&votes));
        let early = first.count(NOW);
        // The rest vote, or do not; then the time is over.
        let both: Vec<Option<Vote>> = votes.iter().zip(&later).map(|(a, b)| a.or(*b)).collect();
        let last = poll(&all, &given(&both)).count(UNTIL);
        prop_assert_ne!(last.standing, Standing::Open);
        if early.standing != Standing::Open {
            prop_assert_eq!(early.standing, last.standing, "settled early, and then otherwise: {:?} {:?}", early, last);
        }
        let weight = |wanted: Vote| -> u32 {
            both.iter().zip(&weights).filter(|(vote, _)| **vote == Some(wanted)).map(|(_, weight)| weight).sum()
        };
        let cast = given(&both).iter().filter(|(_, vote)| *vote != Vote::Abstain).count();
        let governance = both[1];
        let may = names.len() >= limits::LEAST_VOTERS
            && cast >= limits::QUORUM
            && weight(Vote::Yes) > weight(Vote::No)
            && matches!(governance, Some(Vote::Yes | Vote::Abstain));
        prop_assert_eq!(last.standing == Standing::Carried, may, "{:?}", last);
    }
}
