//! The same rules for others' engines: Rego, run by regorus's interpreter and its virtual machine, and casbin.

use std::fmt::Write as _;

use casbin::{CoreApi as _, DefaultModel, Enforcer, MemoryAdapter, MgmtApi as _};
use grace_cortex::request::Request;
use regorus::{CompiledPolicy, Engine, Value, languages::rego::compiler::Compiler, rvm::vm::RegoVM};
use serde_json::json;

use super::{Peer, TYPES, kind_of_type};

const RULE: &str = "data.grace.allow";

pub(super) fn all(requests: &[Request]) -> Vec<Peer> {
    vec![interpreter(requests), machine(requests), enforcer(requests)]
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

fn inputs(requests: &[Request]) -> Vec<Value> {
    let input = |request: &Request| {
        let (kind, of) = (request.actor.kind.entity_type(), &request.circumstances);
        let json = json!({"kind": kind, "actor": request.actor.name, "action": request.kind, "target": request.target,
            "user_facing": of.user_facing, "emergency": of.emergency, "revenue_percent": 50});
        Value::from_json_str(&json.to_string()).unwrap()
    };
    requests.iter().map(input).collect()
}

fn interpreter(requests: &[Request]) -> Peer {
    let (policy, inputs) = (compiled(), inputs(requests));
    let decide = move |n: usize| {
        policy.eval_with_input(inputs[n % inputs.len()].clone()).unwrap() == Value::from(true)
    };
    Peer { name: "regorus, interpreter", decide: Box::new(decide) }
}

fn machine(requests: &[Request]) -> Peer {
    let (policy, inputs) = (compiled(), inputs(requests));
    let program = Compiler::compile_from_policy(&policy, &[RULE]).expect("it compiles");
    let mut vm = RegoVM::new_with_policy(policy);
    vm.load_program(program);
    let vm = std::cell::RefCell::new(vm);
    let decide = move |n: usize| {
        let mut vm = vm.borrow_mut();
        vm.set_input(inputs[n % inputs.len()].clone());
        vm.execute().unwrap() == Value::from(true)
    };
    Peer { name: "regorus, machine", decide: Box::new(decide) }
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
