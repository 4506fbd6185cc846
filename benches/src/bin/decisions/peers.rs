//! The same rules for others' engines: Rego, run by regorus's interpreter and its virtual machine, and casbin. Rules are prepared once. Rego's
//! input is there already, or is built from the request each time, as somebody must; casbin takes the request's fields as they are.

use std::{collections::BTreeMap, fmt::Write as _};

use casbin::{CoreApi as _, DefaultModel, Enforcer, MemoryAdapter, MgmtApi as _};
use grace_cortex::request::Request;
use regorus::{CompiledPolicy, Engine, Value, languages::rego::compiler::Compiler, rvm::vm::RegoVM};

use super::{Peer, TYPES, kind_of_type};

const RULE: &str = "data.grace.allow";

pub(super) fn all(requests: &[Request]) -> Vec<Peer> {
    vec![interpreter(requests), machine(requests), machine_with_input(requests), enforcer(requests)]
}

/// Twenty rules, as in Cedar.
fn rego() -> String {
    let mut text = String::from(
        "package grace\nimport rego.v1\ndefault allow := false\nallow if { permitted; not forbidden }\n",
    );
    text.push_str("permitted if { input.kind == \"Operator\"; input.action == \"modify_governance\" }\n");
    for n in 0..TYPES {
        let kind = kind_of_type(n);
        writeln!(text, "permitted if {{ input.kind == \"{kind}\"; input.action == \"type_{n}\"; input.revenue_percent < 90 }}").unwrap();
    }
    for n in 0..8 {
        writeln!(
            text,
            "forbidden if {{ input.kind == \"Agent\"; input.actor == \"actor-{n}\"; input.emergency }}"
        )
        .unwrap();
    }
    let declared = (0..TYPES).map(|n| format!("\"type_{n}\"")).collect::<Vec<_>>().join(", ");
    writeln!(
        text,
        "declared := {{{declared}}}\npermitted if {{ input.kind == \"Operator\"; input.action in declared }}"
    )
    .unwrap();
    text
}

fn compiled() -> CompiledPolicy {
    let mut engine = Engine::new();
    engine.add_policy("grace.rego".into(), rego()).expect("the policy is good");
    engine.compile_with_entrypoint(&RULE.into()).expect("it compiles")
}

fn input(request: &Request) -> Value {
    let (kind, of) = (request.actor.kind.entity_type(), &request.circumstances);
    let fields: [(&str, Value); 7] = [
        ("kind", kind.into()),
        ("actor", request.actor.name.as_str().into()),
        ("action", request.kind.as_str().into()),
        ("target", request.target.as_str().into()),
        ("user_facing", of.user_facing.into()),
        ("emergency", of.emergency.into()),
        ("revenue_percent", 50i64.into()),
    ];
    Value::from(
        fields.into_iter().map(|(name, value)| (name.into(), value)).collect::<BTreeMap<Value, Value>>(),
    )
}

fn interpreter(requests: &[Request]) -> Peer {
    let (policy, inputs) = (compiled(), requests.iter().map(input).collect::<Vec<_>>());
    let decide = move |n: usize| {
        policy.eval_with_input(inputs[n % inputs.len()].clone()).unwrap() == Value::from(true)
    };
    Peer { name: "regorus, interpreter", decide: Box::new(decide) }
}

fn machine(requests: &[Request]) -> Peer {
    let inputs: Vec<Value> = requests.iter().map(input).collect();
    let run = loaded();
    Peer { name: "regorus, machine", decide: Box::new(move |n| run(inputs[n % inputs.len()].clone())) }
}

fn machine_with_input(requests: &[Request]) -> Peer {
    let (requests, run) = (requests.to_vec(), loaded());
    let decide = move |n: usize| run(input(&requests[n % requests.len()]));
    Peer { name: "regorus, input built", decide: Box::new(decide) }
}

/// The machine with the rules.
fn loaded() -> impl Fn(Value) -> bool {
    let policy = compiled();
    let program = Compiler::compile_from_policy(&policy, &[RULE]).expect("it compiles");
    let mut vm = RegoVM::new_with_policy(policy);
    vm.load_program(program);
    let vm = std::cell::RefCell::new(vm);
    move |input| {
        let mut vm = vm.borrow_mut();
        vm.set_input(input);
        vm.execute().unwrap() == Value::from(true)
    }
}

fn enforcer(requests: &[Request]) -> Peer {
    const MODEL: &str = "
[request_definition]
r = kind, actor, action, revenue, emergency
[policy_definition]
p = kind, actor, action, when, eft
[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))
[matchers]
m = r.kind == p.kind && (p.actor == \"*\" || r.actor == p.actor) && (p.action == \"*\" || r.action == p.action) && (p.when == \"always\" || p.when == \"below\" && r.revenue < 90 || p.when == \"emergency\" && r.emergency)
";
    let mut rules =
        vec![["Operator", "*", "modify_governance", "always", "allow"].map(str::to_owned).to_vec()];
    for n in 0..TYPES {
        let kind = kind_of_type(n);
        rules.push([kind, "*", &format!("type_{n}"), "below", "allow"].map(str::to_owned).to_vec());
    }
    for n in 0..8 {
        rules.push(["Agent", &format!("actor-{n}"), "*", "emergency", "deny"].map(str::to_owned).to_vec());
    }
    rules.push(["Operator", "*", "*", "always", "allow"].map(str::to_owned).to_vec());
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let enforcer = runtime.block_on(async {
        let model = DefaultModel::from_str(MODEL).await.expect("the model is good");
        let mut enforcer = Enforcer::new(model, MemoryAdapter::default()).await.expect("it starts");
        enforcer.add_policies(rules).await.expect("the rules are good");
        enforcer
    });
    let asked: Vec<_> = requests
        .iter()
        .map(|r| {
            (
                r.actor.kind.entity_type().to_owned(),
                r.actor.name.clone(),
                r.kind.clone(),
                r.circumstances.emergency,
            )
        })
        .collect();
    let decide = move |n: usize| {
        let (kind, actor, action, emergency) = &asked[n % asked.len()];
        enforcer.enforce((kind.as_str(), actor.as_str(), action.as_str(), 50i64, *emergency)).unwrap()
    };
    Peer { name: "casbin", decide: Box::new(decide) }
}
