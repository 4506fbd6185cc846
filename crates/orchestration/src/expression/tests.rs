//! What expressions may cost, what templates become, and where errors point.

use grace_types::intent::Json;
use proptest::prelude::*;
use serde_json::json;

use super::*;

const KNOWN: [&str; 4] = ["data", "event.type", "event.hops", "payload"];

fn document() -> Value {
    json!({
        "count": 3, "big": u64::MAX, "ratio": 1.5, "name": "web", "none": null,
        "items": [{"price": 5, "name": "a"}, {"price": 50, "name": "b"}],
        "tags": {"zeta": 1, "alpha": 2, "mid": 3},
    })
}

fn evaluate_over(text: &str, data: &Value) -> Result<Value, String> {
    let expression = Expression::compile(text, &KNOWN).map_err(|bad| bad.message)?;
    expression.evaluate(&Scope::new().with("data", data)).map_err(|failed| failed.0)
}

fn evaluate(text: &str) -> Result<Value, String> {
    evaluate_over(text, &document())
}

#[test]
fn expressions_are_evaluated_over_json() {
    for (text, expected) in [
        ("data.count + 1", json!(4)),
        ("data.count < 10 && data.name == 'web'", json!(true)),
        ("data.big > 5", json!(true)),
        ("data.ratio * 2.0", json!(3.0)),
        ("data.items.exists(i, i.price > 20)", json!(true)),
        ("data.items.all(i, i.price > 20)", json!(false)),
        ("data.items.filter(i, i.price > 20).map(i, i.name + '!')", json!(["b!"])),
        ("data.items.map(i, data.items.map(j, i.name + j.name))", json!([["aa", "ab"], ["ba", "bb"]])),
        ("data.items.exists_one(i, i.price == 5)", json!(true)),
        ("data.items[0]", json!({"name": "a", "price": 5})),
        ("data.tags.map(k, k)", json!(["alpha", "mid", "zeta"])),
        ("has(data.name) && !has(data.nothing)", json!(true)),
        ("size(data.items) == 2 && data.name.startsWith('w')", json!(true)),
        ("{'b': data.count, 'a': [1, 2]}", json!({"a": [1, 2], "b": 3})),
        ("data.name in ['web', 'db']", json!(true)),
        ("data.none == null", json!(true)),
        ("type(data.name) == string", json!(true)),
        ("[1, 2] == [1, 2] && data.items != []", json!(true)),
        ("string(data.count) + data.name", json!("3web")),
    ] {
        assert_eq!(evaluate(text), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let refused = |text: &str| Expression::compile(text, &KNOWN).unwrap_err();
    let bad = refused("data.count == 1 && dta.x");
    assert_eq!((bad.message.as_str(), bad.at), ("there is no `dta` here", 19));
    assert_eq!(bad.help.as_deref(), Some("did you mean `data`?"));
    let bad = refused("event.typ == 'x'");
    assert_eq!((bad.message.as_str(), bad.at), ("`event` has no `typ`", 6));
    assert_eq!(bad.help.as_deref(), Some("did you mean `type`?"));
    let bad = refused("data.name.startWith('a')");
    assert_eq!((bad.message.as_str(), bad.at), ("there is no function `startWith`", 10));
    let bad = refused("data.count ==");
    assert!(bad.message.starts_with("this is not a CEL expression") && bad.at > 5, "{bad:?}");
    let bad = refused("data.count == 1\n  && &");
    assert!(bad.at >= 16, "{bad:?}");
    for text in
        ["", "data.", "(((", "\u{0}", "'", "Made{a: 1}", "data.?x", "optional.of(1)", "data.matches('x')"]
    {
        refused(text);
    }
    let long = format!("data.count == 0{}", " ".repeat(limits::EXPRESSION_BYTES));
    assert!(refused(&long).message.contains("at most 4096"));
    assert!(refused("data.all(a, data.all(b, data.all(c, a == c)))").message.contains("3 loops"));
    let nested = format!("{}1{}", "(".repeat(2000), ")".repeat(2000));
    assert!(refused(&nested).message.contains("nested"));
}

#[test]
fn repeated_parts_neither_panic_nor_overflow_the_stack() {
    for part in [
        "[",
        "{",
        "!",
        "-",
        "1?1:",
        "1?",
        "data.",
        "1+",
        "1*",
        "data.a + ",
        "1&&",
        "1 in ",
        "[1][",
        "f(",
        "'",
        "!(",
        "a.all(b,",
    ] {
        let text = part.repeat(limits::EXPRESSION_BYTES / part.len());
        let _ = Expression::compile(&text, &KNOWN);
        let _ = evaluate(&format!("{}1", &text[..text.len() - 1]));
        // The longest that is taken, which the evaluator goes through too.
        let _ = evaluate(&format!("{}1", part.repeat(limits::EXPRESSION_CHAIN)));
    }
}

#[test]
fn what_takes_too_much_work_is_cut_short() {
    let list = json!({"l": (0..3000).collect::<Vec<_>>(), "s": "x".repeat(100_000), "e": [1, 2, 3]});
    let doubled = format!("[data.s]{}", ".map(a, a + a)".repeat(30));
    let nested = format!("[data.e]{}.size() > 0", ".map(a, [a, a])".repeat(30));
    let joined = vec!["data.s"; 140].join("+");
    for text in [
        "data.l.all(a, data.l.all(b, a + b >= 0))",
        "data.l.map(a, data.l.map(b, b)).size() > 0",
        "data.l.map(a, data.s + 'x').size() > 0",
        "data.l.all(a, data.s == data.s)",
        "data.l.exists(a, data.l.exists(b, data.l == [a, b]))",
        "data.l.all(a, size(bytes(data.s)) > 0)",
        doubled.as_str(),
        nested.as_str(),
        joined.as_str(),
    ] {
        match evaluate_over(text, &list) {
            Ok(value) => panic!("{text} gave {}", short(&value.to_string())),
            Err(why) => assert!(why.contains("steps"), "{text}: {why}"),
        }
    }
    let wide = json!({"l": (0..10_000).map(|i| json!({"price": i, "name": "thing"})).collect::<Vec<_>>()});
    assert_eq!(evaluate_over("data.l.exists(i, i.price > 9998)", &wide), Ok(json!(true)));
}

#[test]
fn failures_say_why() {
    for (text, part) in [
        ("data.lost == 1", "lost"),
        ("data.count / 0", "zero"),
        ("data.name > 5", "overload"),
        ("b'abc'", "bytes"),
        ("{1: 2}", "keys"),
    ] {
        let why = evaluate(text).unwrap_err();
        assert!(why.contains(part) && why.len() < 2000, "{text}: {why}");
    }
    let scope_of = document();
    let scope = Scope::new().with("data", &scope_of);
    let why = Expression::compile("data.count", &KNOWN).unwrap().holds(&scope).unwrap_err();
    assert_eq!(why.0, "it gives a number, not true or false");
}

fn render(template: &str) -> Result<Value, String> {
    let template =
        Template::compile(template, &KNOWN).map_err(|bad| format!("{} at {}", bad.message, bad.at))?;
    template.evaluate(&Scope::new().with("data", &document())).map_err(|failed| failed.0)
}

#[test]
fn templates_keep_the_type_of_a_lone_expression() {
    for (text, expected) in [
        ("${data.count}", json!(3)),
        ("${ data.items[0] }", json!({"name": "a", "price": 5})),
        ("n=${data.count}, ${data.name}!", json!("n=3, web!")),
        ("cost: $5 and $${data.x}", json!("cost: $5 and ${data.x}")),
        ("${ {'a': '}'}.a }", json!("}")),
        ("${\"\\\"}\"}x", json!("\"}x")),
        ("", json!("")),
        ("plain", json!("plain")),
        ("$", json!("$")),
    ] {
        assert_eq!(render(text), Ok(expected), "{text}");
    }
    assert_eq!(render("ab ${data.x"), Err("this `${` is not closed at 3".into()));
    assert_eq!(render("ab ${ dta }"), Err("there is no `dta` here at 6".into()));
    assert!(render("x${data.lost}").unwrap_err().starts_with("`data.lost`: "));
}

#[test]
fn mappings_render_whole_documents() {
    let document =
        json!({"path": "${data.name}/x", "n": "${data.count}", "l": ["${data.ratio}", 1, null], "p": "a"});
    let mapping = Mapping::compile(&document, &KNOWN).unwrap();
    let data = self::document();
    let scope = Scope::new().with("data", &data);
    assert_eq!(
        mapping.render(&scope).unwrap(),
        json!({"path": "web/x", "n": 3, "l": [1.5, 1, null], "p": "a"})
    );
    let bad = Mapping::compile(&json!({"a": {"b": ["${x}", "${data.y", "ok"]}}), &KNOWN).unwrap_err();
    let told: Vec<String> = bad.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["a.b.0: there is no `x` here", "a.b.1: this `${` is not closed"]);
    let mapping = Mapping::compile(&json!({"a": [{"k": "${data.lost}"}]}), &KNOWN).unwrap();
    assert!(mapping.render(&scope).unwrap_err().0.starts_with("a: 0: k: `data.lost`"));
}

#[test]
fn a_field_by_itself_is_what_the_evaluator_gives() {
    for field in ["count", "big", "ratio", "name", "none", "items", "tags", "tags.alpha", "tags.none", "gone"]
    {
        // In brackets of a list it is no field by itself.
        let evaluated = evaluate(&format!("[data.{field}]")).map(|list| list[0].clone());
        assert_eq!(evaluate(&format!("data.{field}")), evaluated, "{field}");
    }
    assert_eq!(evaluate("has(data.name)"), Ok(json!(true)));
    let mapping = Mapping::compile(&json!({"a": "${data.name}", "b": ["${1 + 1} ${event.hops}"]}), &KNOWN);
    let mapping = mapping.unwrap();
    let used = ["data", "event", "payload"].map(|root| mapping.uses(root));
    assert_eq!(used, [true, true, false]);
}

#[test]
fn plain_fields_are_copied() {
    let mapping = Mapping::compile(
        &json!({"a": "${payload.t}", "b": ["${payload.n}", 1], "c": {"d": "${payload.f}"}}),
        &KNOWN,
    );
    let payload: Json = serde_json::from_str(r#"{ "n": 12, "t": "é {x}", "f" : false }"#).unwrap();
    let copied = mapping.unwrap().copy("payload", &payload).unwrap();
    assert_eq!(copied.text(), r#"{"a":"é {x}","b":[12,1],"c":{"d":false}}"#);
}

#[test]
fn a_quick_look_agrees_with_the_evaluator() {
    let document = document();
    let scope = Scope::new().with("data", &document);
    let values = [
        "data.count",
        "data.big",
        "data.ratio",
        "data.name",
        "data.none",
        "data.lost",
        "data.items",
        "has(data.name)",
    ];
    let literals = ["3", "2", "4", "'web'", "'x'", "true", "3.0", "null", "18446744073709551615u"];
    for value in values {
        for operator in ["==", "!=", "<", "<=", ">", ">="] {
            for literal in literals {
                let one = format!("{value} {operator} {literal}");
                for text in
                    [one.clone(), format!("{one} && data.count == 3"), format!("data.lost.x && {one}")]
                {
                    let expression = Expression::compile(&text, &KNOWN).unwrap();
                    let slow = expression.evaluate(&scope).ok();
                    let quick = expression.holds(&scope).ok().map(Value::Bool);
                    assert_eq!(quick, slow, "{text}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(text in "[a-z.()\\[\\]{}<>=!&|+*/%?:,'\"0-9@_ -]{0,60}") {
        let _ = evaluate(&text);
        let _ = render(&text);
    }

    #[test]
    fn no_template_panics(text in "[${}'\"\\\\a.é ]{0,24}") {
        let _ = render(&text);
    }

    /// Of fields that are there and that are not, of every kind, in the payload's own spelling.
    #[test]
    fn what_is_copied_is_what_is_rendered(
        text in r#"[a-z"\\\\\n\u{0}-\u{20}é{}$]{0,12}"#,
        number in any::<i64>(),
        ratio in any::<f64>(),
        flag: bool,
        wanted in prop::sample::subsequence(vec!["text", "number", "ratio", "flag", "none", "list", "lost", "text.x"], 1..4),
        spaced: bool,
    ) {
        let payload = json!({
            "text": text, "number": number, "ratio": ratio, "flag": flag, "none": null, "list": [text, {"text": 1}], "te\"xt": 1
        });
        let payload = if spaced { serde_json::to_string_pretty(&payload) } else { serde_json::to_string(&payload) };
        let payload: Json = serde_json::from_str(&payload.unwrap()).unwrap();
        let mut document = json!({"fixed": [1, "a\"b", 0.5], "": {"k\"y": []}});
        for name in &wanted {
            document[format!("at {name}")] = json!({"it": format!("${{payload.{name}}}"), "also": [format!("${{payload.{name}}}"), "x"]});
        }
        let mapping = Mapping::compile(&document, &KNOWN).unwrap();
        let value = payload.value().unwrap();
        let rendered = mapping.render(&Scope::new().with("payload", &value)).ok().map(|value| Json::of(&value));
        if let Some(copied) = mapping.copy("payload", &payload) {
            prop_assert_eq!(Some(copied), rendered);
        }
        prop_assert_eq!(mapping.copy("data", &payload), None);
    }

    #[test]
    fn json_survives_cel(number in any::<i64>(), ratio in -1e300f64..1e300, text in ".{0,20}", flag: bool) {
        let value = json!({"n": number, "r": ratio, "t": text, "f": flag, "l": [null, {"x": number}]});
        let scope = Scope::new().with("data", &value);
        prop_assert_eq!(Expression::compile("data", &KNOWN).unwrap().evaluate(&scope).unwrap(), value.clone());
    }
}
