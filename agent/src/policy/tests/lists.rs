//! Lists lose what may not be used.

use super::{
    super::listing::{Kind, Page},
    *,
};

fn page<'a>(method: &str, result: &'a str) -> Page<'a> {
    Page::read(Kind::of(method).unwrap(), result).unwrap()
}

#[test]
fn lists_lose_what_may_not_be_used_and_nothing_else() {
    let policies = policies(
        r#"@id("no") forbid (principal, action == Action::"tools/call", resource == Tool::"billing/b");
           @id("big") forbid (principal, action == Action::"tools/call", resource == Tool::"billing/c")
             when { context.arguments.hasTag("n") && context.arguments.getTag("n").long > 3 };
           @id("destroys") forbid (principal, action == Action::"tools/call", resource) when {
             context.annotations.destructiveHint && resource.name like "x*" };"#,
    );
    let app = unit("app.service");
    let question = question(&app, "tools/list", None, None);
    let result = r#"{ "nextCursor":"c\u0031", "tools":[ {"name":"a","n":1.50e0} , {"name":"b"},{ "name" : "c" },{"name":"x1"},{"name":"x2","annotations":{"destructiveHint":false}},{"nome":1} ],"cacheScope": "public","ttlMs":5 }"#;
    let shown = page("tools/list", result).visible_to(&policies, &question);
    let expected = r#"{ "nextCursor":"c\u0031", "tools":[{"name":"a","n":1.50e0},{ "name" : "c" },{"name":"x2","annotations":{"destructiveHint":false}}],"cacheScope": "private","ttlMs":5 }"#;
    assert_eq!(shown.as_deref(), Some(expected));
    let harmless = r#"{"tools":[{"name":"a"}],"cacheScope":"public"}"#;
    assert_eq!(page("tools/list", harmless).visible_to(&policies, &question), None);
    assert!(Page::read(Kind::of("tools/list").unwrap(), r#"{"tools":7}"#).is_none());
}

#[test]
fn what_only_arguments_could_permit_is_shown() {
    let policies = permitting(
        r#"permit (principal, action == Action::"tools/call", resource == Tool::"billing/a")
             when { context.arguments.hasTag("n") && context.arguments.getTag("n").long < 3 };
           permit (principal, action == Action::"resources/read", resource) when { resource.uri like "file:///pub/*" };
           permit (principal, action == Action::"prompts/get", resource == Prompt::"billing/p");"#,
    );
    let app = unit("app.service");
    let question = question(&app, "tools/list", None, None);
    let shown = |method: &str, result: &str| page(method, result).visible_to(&policies, &question);
    assert_eq!(shown("tools/list", r#"{"tools":[{"name":"a"},{"name":"b"}]}"#).unwrap(), r#"{"tools":[{"name":"a"}]}"#);
    assert_eq!(shown("prompts/list", r#"{"prompts":[{"name":"q"}]}"#).unwrap(), r#"{"prompts":[]}"#);
    assert_eq!(
        shown("resources/list", r#"{"resources":[{"uri":"file:///pub/1"},{"uri":"file:///x"}]}"#).unwrap(),
        r#"{"resources":[{"uri":"file:///pub/1"}]}"#
    );
    let templates = r#"{"resourceTemplates":[{"uriTemplate":"file:///pub/{x}"},{"uriTemplate":"{s}://x"}]}"#;
    let kept = r#"{"resourceTemplates":[{"uriTemplate":"file:///pub/{x}"}]}"#;
    assert_eq!(shown("resources/templates/list", templates).unwrap(), kept);
}
