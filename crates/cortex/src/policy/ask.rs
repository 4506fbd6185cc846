//! Asking policies: what is settled by scopes is taken as it is, and Cedar evaluates the rest.

use std::{borrow::Cow, collections::HashSet, sync::OnceLock};

use cedar_policy::{
    AuthorizationError, Context, Entities, Entity, EntityId, EntityTypeName, EntityUid,
    Request as CedarRequest, Response, RestrictedExpression,
};

use super::{Note, Policies, Ruling, UNKNOWN, slice::Part};
use crate::{
    request::{ActorKind, Circumstances, Request},
    tier::Tier,
};

/// A type of intents as Cedar sees it.
#[derive(Clone)]
pub(super) struct Action {
    pub(super) uid: EntityUid,
    pub(super) group: Option<EntityUid>,
    /// Both of them.
    entities: Entities,
}

/// Names of the types of Cedar's entities.
pub(super) struct Names {
    /// Of each kind of actor, in their order.
    pub(super) principals: Vec<EntityTypeName>,
    action: EntityTypeName,
    target: EntityTypeName,
}

/// A request in Cedar's words.
struct Asked<'t> {
    request: CedarRequest,
    action: Cow<'t, Action>,
}

/// The policies that apply, as far as they are found, and those that cannot be evaluated.
#[derive(Default)]
struct Found<'p> {
    permits: Vec<&'p Note>,
    forbids: Vec<&'p Note>,
    /// With the places of their policies.
    errors: Vec<(usize, String)>,
}

impl Policies {
    /// What these parts of the policies say together about a type; `None` is one that nobody has heard of.
    pub(super) fn ask<'p>(
        &'p self,
        request: &Request,
        action: Option<&Action>,
        parts: impl IntoIterator<Item = &'p Part>,
    ) -> Ruling {
        let (mut found, mut asked) = (Found::default(), None);
        for part in parts {
            found.add(part.settled.iter().map(|&at| &self.notes[at]));
            if part.open.is_empty() {
                continue;
            }
            let asked = match asked.get_or_insert_with(|| self.names.asked(request, action)) {
                Ok(asked) => asked,
                Err(error) => return Ruling::Failed { errors: vec![error.clone()] },
            };
            self.hear(
                &self.authorizer.is_authorized(&asked.request, &part.open, &asked.action.entities),
                &mut found,
            );
        }
        found.ruling()
    }

    /// Takes in what Cedar answered about a part. A no that nothing forbids leaves it to the other parts.
    fn hear<'p>(&'p self, response: &Response, found: &mut Found<'p>) {
        let said = response.diagnostics();
        for id in said.reason() {
            match self.places.get(id) {
                Some(&at) => found.add([&self.notes[at]]),
                // Cannot be: only what was read is asked about. A forbid must not get lost, though.
                None => found.errors.push((0, format!("there is no policy {id}"))),
            }
        }
        for error in said.errors() {
            let AuthorizationError::PolicyEvaluationError(of) = error;
            let place = self.places.get(of.policy_id()).copied().unwrap_or_default();
            found.errors.push((place, error.to_string()));
        }
    }
}

impl<'p> Found<'p> {
    fn add(&mut self, notes: impl IntoIterator<Item = &'p Note>) {
        for note in notes {
            if note.permits { self.permits.push(note) } else { self.forbids.push(note) }
        }
    }

    fn ruling(mut self) -> Ruling {
        if !self.errors.is_empty() {
            self.errors.sort_unstable();
            return Ruling::Failed { errors: self.errors.into_iter().map(|(_, told)| told).collect() };
        }
        let forbidden = !self.forbids.is_empty();
        let mut notes = if forbidden { self.forbids } else { self.permits };
        if notes.is_empty() {
            return Ruling::NotPermitted;
        }
        notes.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let by = notes.iter().map(|note| note.name.clone()).collect();
        let advice = notes.iter().filter_map(|note| note.advice.clone()).collect();
        if forbidden {
            return Ruling::Forbidden { by, advice };
        }
        let tier = notes.iter().filter_map(|note| note.tier).max_by_key(|tier| tier.strictness());
        // Each permit names one: it is checked when they are read.
        let tier = tier.unwrap_or(Tier::Approval);
        let quorum = notes.iter().filter_map(|note| note.quorum).max().unwrap_or(1);
        Ruling::Permitted { tier, quorum, by, advice }
    }
}

impl Names {
    pub(super) fn new() -> Result<Self, String> {
        let name = |text: &str| text.parse::<EntityTypeName>().map_err(|e| format!("{text}: {e}"));
        let mut principals = Vec::new();
        for kind in ActorKind::ALL {
            principals.push(name(kind.entity_type())?);
        }
        Ok(Self { principals, action: name("Action")?, target: name("Target")? })
    }

    /// The action of a type in its group.
    pub(super) fn action(&self, kind: &str, group: Option<&str>) -> Result<Action, String> {
        let (uid, group) = (uid(&self.action, kind), group.map(|group| uid(&self.action, group)));
        let groups = group.iter().map(|group| Entity::new_no_attrs(group.clone(), HashSet::new()));
        let own = Entity::new_no_attrs(uid.clone(), group.iter().cloned().collect());
        let entities = Entities::from_entities(groups.chain([own]), None).map_err(|e| e.to_string())?;
        Ok(Action { uid, group, entities })
    }

    fn asked<'t>(&self, request: &Request, action: Option<&'t Action>) -> Result<Asked<'t>, String> {
        let action = match action {
            Some(action) => Cow::Borrowed(action),
            None => Cow::Owned(self.action(&request.kind, Some(UNKNOWN))?),
        };
        let principal = uid(&self.principals[request.actor.kind as usize], &request.actor.name);
        let target = uid(&self.target, &request.target);
        let context = context(&request.circumstances)?;
        let asked = CedarRequest::new(principal, action.uid.clone(), target, context, None);
        Ok(Asked { request: asked.map_err(|e| e.to_string())?, action })
    }
}

fn uid(name: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(name.clone(), EntityId::new(id))
}

/// What policies see of the circumstances: two flags and a whole number from 0 to 100. Each of these few is made once, when it is first
/// seen.
fn context(of: &Circumstances) -> Result<Context, String> {
    static MADE: [OnceLock<Result<Context, String>>; 2 * 2 * 101] = [const { OnceLock::new() }; 2 * 2 * 101];
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to 100: it was checked"
    )]
    let percent = (of.revenue_impact * 100.0).round() as usize;
    let make = || {
        Context::from_pairs([
            ("user_facing".to_owned(), RestrictedExpression::new_bool(of.user_facing)),
            ("emergency".to_owned(), RestrictedExpression::new_bool(of.emergency)),
            ("revenue_percent".to_owned(), RestrictedExpression::new_long(percent as i64)),
        ])
        .map_err(|e| e.to_string())
    };
    let at = percent * 4 + usize::from(of.user_facing) * 2 + usize::from(of.emergency);
    MADE[at].get_or_init(make).clone()
}
