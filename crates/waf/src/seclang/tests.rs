//! The front end as a whole, on small texts and, if they are there, on the Core Rule Set.

use std::path::Path;

use super::ast::{Action, Change, Disruptive, Item, Jump, Piece, Rule, Rules, Selector, Template};
use super::{CrsSource, SecLangSources, load, parse};

fn read(text: &str) -> Rules {
    parse(Path::new("test.conf"), text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The rules of the files, without those that come with us.
fn rules(rules: &Rules) -> Vec<&Rule> {
    fn rule(item: &Item) -> Option<&Rule> {
        match item {
            Item::Rule(rule) => (rule.id < 20_000_000).then_some(rule),
            Item::Marker { .. } | Item::Settings => None,
        }
    }
    rules.items.iter().filter_map(rule).collect()
}

#[track_caller]
fn check_error(text: &str, expected: &[&str]) {
    let errors = parse(Path::new("test.conf"), text).expect_err("a mistake");
    let errors: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
    for (error, expected) in errors.iter().zip(expected) {
        assert!(error.contains(expected), "{error}\nshould say\n{expected}");
    }
}

#[test]
#[expect(clippy::cognitive_complexity, reason = "one assertion for each part of a rule")]
fn a_rule_is_understood() {
    let read = read(
        "SecRule ARGS|!ARGS:/^x\\/y/|&TX:a \"!@rx a\\\"b %{2}\" \\\n  \"id:1,phase:1,block,t:none,\
         t:Lowercase,setvar:'tx.S_%{tx.0}=+%{tx.critical}',capture,chain,\
         ctl:ruleRemoveTargetById=5-7;ARGS:q,severity:'CRITICAL',tag:'a,b',status:418\"\n\
         SecRule XML:/* foo \"skipAfter:END\"\nSecMarker END\n",
    );
    let [rule] = rules(&read)[..] else { panic!("one rule") };
    assert_eq!((rule.id, rule.phase, rule.links.len(), rule.status), (1, 1, 2, Some(418)));
    assert_eq!(rule.disruptive, Disruptive::Pass);
    assert_eq!(rule.jump, Some(Jump::After("END".into())));
    assert_eq!(rule.tags, [Template::text("a,b")]);
    let head = rule.links[0].condition.as_ref().unwrap();
    assert_eq!(head.variables[1].selector, Selector::Pattern("^x/y".into()));
    assert!(head.variables[1].excluded && head.variables[2].counted);
    assert!(head.operator.negated && rule.links[0].capture);
    assert_eq!(head.operator.argument.literal(), Some("a\"b %{2}"));
    assert_eq!(rule.links[0].transformations, ["lowercase".into()]);
    let Action::SetVar(set) = &rule.links[0].actions[0] else { panic!() };
    assert_eq!(set.name.pieces[0], Piece::Text("s_".into()));
    assert!(matches!(&set.change, Change::Add(value) if value.literal().is_none()));
    let chained = rule.links[1].condition.as_ref().unwrap();
    assert_eq!(chained.variables[0].selector, Selector::Path("/*".into()));
    assert_eq!(&*chained.operator.name, "rx");
}

#[test]
fn defaults_hold_for_what_follows() {
    let read = read(
        "SecAction id:1,phase:2,block\n\
         SecDefaultAction \"phase:2,deny,status:429,nolog,t:lowercase\"\n\
         SecAction id:2,phase:2,block\nSecAction id:3,phase:1\nSecAction id:4,log,pass,t:none\n",
    );
    let told: Vec<_> = rules(&read)
        .iter()
        .map(|rule| (rule.disruptive.clone(), rule.log, rule.links[0].transformations.len()))
        .collect();
    let expected = [
        (Disruptive::Pass, true, 0),
        (Disruptive::Deny, false, 1),
        (Disruptive::Pass, true, 0),
        (Disruptive::Pass, true, 0),
    ];
    assert_eq!(told, expected);
}

#[test]
fn rules_are_removed_and_changed_from_elsewhere() {
    let read = read(
        "SecRuleRemoveById 2 3-4\nSecRuleRemoveByTag late\n\
         SecRule ARGS x id:1,deny,tag:a,msg:'one'\nSecAction id:2\nSecAction id:4\n\
         SecRule ARGS \"@rbl x\" id:5,tag:late\nSecRule ARGS y id:6,msg:'two'\n\
         SecRuleUpdateTargetById 1 \"!ARGS:q|REQUEST_URI\"\n\
         SecRuleUpdateActionById 1 pass,tag:b,msg:'uno'\n\
         SecRuleUpdateTargetByMsg two REQUEST_BODY ARGS\nSecRuleRemoveById 99\n",
    );
    let [one, six] = rules(&read)[..] else { panic!("two rules") };
    assert_eq!(one.disruptive, Disruptive::Pass);
    assert_eq!((one.tags.len(), one.links[0].msg.clone()), (2, Some(Template::text("uno"))));
    assert_eq!(one.links[0].condition.as_ref().unwrap().variables.len(), 3);
    assert_eq!(six.links[0].condition.as_ref().unwrap().variables[0].name, "REQUEST_BODY");
    assert_eq!(read.notes.len(), 1, "{:?}", read.notes);
}

#[test]
fn every_mistake_is_told_with_its_line_and_a_suggestion() {
    check_error(
        "SecRul ARGS x id:1\n\nSecRule ARG \"@rxx y\" \"id:2,t:lowercas,dny\"\nSecRule ARGS x\n\
         SecRule ARGS \"(?=x)\" id:3\nSecAction id:4,ctl:ruleRemoveByTg=x\nSecAction id:4\n\
         SecRule ARGS x id:5,chain\nSecMarker x\nSecRule ARGS \"@rbl x\" id:6,msg:'%{nix}'\n\
         SecRule ARGS x \"id:7\nInclude nowhere.conf\nSecRule TX:/(/ x id:8\nSecRule ARGS\n",
        &[
            "test.conf:1: `SecRul` is no directive; did you mean `SecRule`?",
            "test.conf:8: rule 5: its chain is not continued",
            "test.conf:11: a quote is not closed",
            "test.conf:12: a text that is no file",
            "test.conf:14: `SecRule` cannot take 1 words",
            "test.conf:3: rule 2: `ARG` is no variable; did you mean `ARGS`?",
            "`rxx` is no operator; did you mean `rx`?",
            "`lowercas` is no transformation; did you mean `lowercase`?",
            "`dny` is no action; did you mean `deny`?",
            "test.conf:4: it needs an id",
            "test.conf:5: rule 3: the pattern `(?=x)` does not compile",
            "test.conf:6: rule 4: `ruleRemoveByTg` is no ctl; did you mean `ruleRemoveByTag`?",
            "test.conf:7: rule 4: its id is used in test.conf:6 already",
            "test.conf:10: rule 6: `nix` is no variable",
            "test.conf:10: rule 6: `@rbl` is not supported",
            "test.conf:13: rule 8: the pattern `(` does not compile",
        ],
    );
}

#[test]
fn what_has_no_effect_is_noted() {
    let read = read(
        "SecRuleEngine On\nsecauditlog /x\nSecRequestBodyLimit 1000\nSecResponseBodyMimeType a/b C/d\n\
         SecAction id:1,pause:5\n",
    );
    assert_eq!(read.notes.len(), 3);
    assert_eq!(read.engine.request_body_limit, Some(1000));
    assert_eq!(read.engine.response_types, Some(vec!["a/b".into(), "c/d".into()]));
}

#[test]
fn includes_are_relative_sorted_and_acyclic() {
    let folder = std::env::temp_dir().join(format!("tidegate-seclang-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("d")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    write("main.conf", "Include d/*.conf\nIncludeOptional none/*.conf\n");
    write("d/b.conf", "SecAction id:2\n");
    write("d/a.conf", "SecAction id:1\n");
    let sources =
        SecLangSources { after: vec![folder.join("main.conf")], ..SecLangSources::default() };
    let loaded = load(&sources).unwrap();
    assert_eq!(rules(&loaded.rules).iter().map(|rule| rule.id).collect::<Vec<_>>(), [1, 2]);
    assert!(loaded.footprint.is_current());
    write("d/c.conf", "SecAction id:3\n");
    assert!(!loaded.footprint.is_current());
    std::fs::remove_file(folder.join("d/c.conf")).unwrap();
    assert!(loaded.footprint.is_current());
    write("d/b.conf", "Include ../main.conf\n");
    assert!(!loaded.footprint.is_current());
    assert!(load(&sources).unwrap_err().to_string().contains("includes itself"));
    std::fs::remove_dir_all(folder).unwrap();
}

/// Run by hand: `CRS=/path/to/coreruleset cargo test -p tidegate-waf core_rule_set -- --ignored
/// --nocapture`.
#[test]
#[ignore = "needs a checkout of the Core Rule Set"]
fn the_core_rule_set_is_read_without_a_mistake() {
    let path = std::env::var_os("CRS").expect("CRS names its folder");
    let crs = Some(CrsSource { path: path.into(), setup: None });
    let loaded = load(&SecLangSources { crs, ..SecLangSources::default() });
    let read = loaded.unwrap_or_else(|errors| panic!("{errors}")).rules;
    let rules = rules(&read);
    let actions = rules.iter().filter(|rule| rule.links[0].condition.is_none()).count();
    let links: usize = rules.iter().map(|rule| rule.links.len() - 1).sum();
    let markers = read.items.iter().filter(|item| matches!(item, Item::Marker { .. })).count();
    println!("{} rules, {links} links, {actions} actions, {markers} markers", rules.len());
    read.notes
        .iter()
        .for_each(|note| println!("{}:{}: {}", note.place.file, note.place.line, note.message));
    assert!(rules.len() > 300 && links > 50);
}
