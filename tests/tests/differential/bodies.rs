//! Bodies whose members are spelled in ways that parsers differ on.

/// A call of a tool with these texts in place of its members.
fn call(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,{method},{params}}}"#)
}

fn arguments(text: &str) -> String {
    call(r#""method":"tools/call""#, &format!(r#""params":{{"name":"add","arguments":{text}}}"#))
}

/// All of them.
pub(crate) fn bodies() -> Vec<Vec<u8>> {
    let good = r#""method":"tools/call""#;
    let methods = [
        good,
        r#""method":"ping","method":"tools/call""#,
        r#""method":"tools/call","m\u0065thod":"ping""#,
        r#""m\u0065thod":"tools\/call""#,
        r#""Method":"ping","method":"tools/call""#,
        r#""method":"tools/call","METHOD":"ping""#,
        r#""METHOD":"tools/call""#,
        r#""method":"tools/call","method\u0000":"ping""#,
        "\"method\":\"tools/call\u{0}\"",
        r#""method":"tools/call\u0000""#,
        r#""method":"tools/call\ud800""#,
        r#""method":null,"method":"tools/call""#,
    ];
    let params = [
        r#""params":{"name":"add"}"#,
        r#""params":{"name":"echo"},"params":{"name":"add"}"#,
        r#""params":{"name":"add","name":"echo"}"#,
        r#""params":{"name":"add","Name":"echo"}"#,
        r#""params":{"Name":"echo","name":"add"}"#,
        r#""param\u017f":{"name":"echo"},"params":{"name":"add"}"#,
        r#""params":{"name":"add","argument\u017f":{"a":1}}"#,
        r#""params":{"n\u0061me":"\u0061dd"}"#,
        r#""params":{"name":"add\ud83d\ude00"}"#,
        r#""params":{"name":"\udc00\ud800"}"#,
        r#""Params":{"name":"echo"},"params":{"name":"add"}"#,
        r#""params":{"ref":{"type":"ref/prompt","name":"add"}}"#,
        r#""params":{"Ref":{"type":"ref/prompt","name":"add"}}"#,
        r#""params":{"ref":{"type":"ref/prompt","name":"add"},"REF":{"type":"ref/prompt","name":"echo"}}"#,
        r#""params":{"ref":{"Type":"ref/prompt","Name":"add"}}"#,
        r#""params":{"ref":{"type":"ref/prompt","name":"add","n\u0041me":"echo"}}"#,
        r#""params":null"#,
        r#""params":{"name":"add"},"result":{}"#,
    ];
    let values = [
        "1",
        "-0",
        "-0.0",
        "1.0",
        "1e2",
        "1E+2",
        "01",
        "1.",
        ".5",
        "+1",
        "0x10",
        "1_000",
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-1e999",
        "1e-999",
        "9007199254740991",
        "9007199254740993",
        "-9007199254740993",
        "1152921504606847000",
        "18446744073709551616",
        "123456789012345678901234567890",
        "0.1000000000000000055511151231257827",
        "2.2250738585072011e-308",
        "4.9e-324",
        "1.7976931348623157e308",
        "1.7976931348623159e308",
        "true",
        "True",
        "null",
        "None",
        "undefined",
        r#""a""#,
        "'a'",
        r#""\u0000""#,
        "\"\u{0}\"",
        "\"\t\"",
        r#""\ud800""#,
        r#""\ud83d\ude00""#,
        r#""\x41""#,
        r#""\'""#,
        "\"\u{2028}\"",
        "\"\u{feff}\"",
        "\"\u{7f}\"",
        r#"{"a":1,"a":2}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"a":1,"A":2}"#,
        r#"{"__proto__":{"a":1}}"#,
        r#"{"":1}"#,
        r#"[1,]"#,
        r#"{"a":1,}"#,
        r#"[1 2]"#,
        "{a:1}",
        "/**/1",
        "1//",
        "[[[[[[]]]]]]",
    ];
    let mut bodies: Vec<Vec<u8>> = Vec::new();
    for method in methods {
        bodies.extend(params.iter().map(|params| call(method, params).into_bytes()));
    }
    let deep = [50, 90, 99, 101, 126, 130, 2000].map(|depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
    for value in values.into_iter().chain(deep.iter().map(String::as_str)) {
        // As what an argument holds, and in place of the arguments.
        bodies.push(arguments(&format!(r#"{{"v":{value}}}"#)).into_bytes());
        bodies.push(arguments(value).into_bytes());
    }
    let plain = arguments("{}");
    let framed = [
        ("\u{feff}", ""),
        ("", "\u{feff}"),
        ("", "\u{0}"),
        ("", "{}"),
        (" \r\n\t", " \n"),
        ("\u{a0}", ""),
        ("\u{c}", ""),
        ("", "//"),
        (")]}'\n", ""),
    ];
    bodies.extend(framed.map(|(before, after)| format!("{before}{plain}{after}").into_bytes()));
    bodies.push(plain.encode_utf16().flat_map(u16::to_le_bytes).collect());
    bodies.push([plain.as_bytes(), b"\xff"].concat());
    bodies.push(plain.replace("add", "\u{e9}").chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect());
    let ids = ["1.0", "1e0", "9007199254740993", "18446744073709551616", r#""\u0031""#, "-0"];
    bodies.extend(ids.map(|id| plain.replacen("\"id\":1", &format!("\"id\":{id}"), 1).into_bytes()));
    bodies
}
