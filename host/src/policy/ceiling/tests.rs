use super::*;

const HEAD: &str = "schema = \"skillhost.policy/1\"\n";

fn read(lines: &str) -> Policy {
    Policy::parse(&format!("{HEAD}{lines}\n")).unwrap_or_else(|problems| panic!("{lines}: {problems:?}"))
}

fn grant(lines: &str) -> String {
    format!("[[grant]]\nskills = [\"a\"]\ntools = [\"*\"]\n{lines}\n")
}

/// What `own` gives `a.b` below `above`: its limits, or why nothing.
fn below(own: &str, above: &str) -> Result<Arc<Grant>, String> {
    let above = Ceiling { policy: read(above), text: String::new() };
    let own = read(own).under(Arc::new(above), "").map_err(|problems| problems[0].to_string())?;
    let grant = own.grants.first().expect("a grant");
    own.below_ceiling(&"a.b".parse().unwrap(), 0, grant).map_err(|refusal| {
        assert_eq!(refusal.why, Why::AboveCeiling);
        refusal.reason
    })
}

const SECRET: &str = "[secrets]\nK = { env = \"KEY\" }\n";

fn folder(host: &str, access: &str) -> String {
    grant(&format!("filesystem = [{{ host = \"{host}\", guest = \"/w\", access = \"{access}\" }}]"))
}

fn network(rules: &str) -> String {
    grant(&format!("network = [{rules}]"))
}

#[test]
fn what_lies_within_is_given() {
    let get = "{ url = \"https://a.test/v1/*\", methods = [\"GET\"] }";
    for (own, above) in [
        (grant(""), grant("")),
        (folder("{workspace}", "read-only"), folder("{workspace}", "read-write")),
        (folder("{workspace}/a/b", "read-write"), folder("{workspace}/a", "read-write")),
        (folder("{workspace}//a/./b/", "read-write"), folder("{workspace}/a", "read-write")),
        (folder("/srv/data/x", "read-only"), folder("/srv/data", "read-only")),
        (network(get), network("{ url = \"https://*.test/*\", methods = [\"GET\", \"HEAD\"] }")),
        (
            network("{ url = \"http://10.0.0.1/*\", methods = [\"GET\"], addresses = [\"10.0.0.1/32\"] }"),
            network("{ url = \"http://10.0.0.1/*\", methods = [\"GET\"], addresses = [\"10.0.0.0/8\"] }"),
        ),
        (grant("clocks = \"real\"\nrandom = \"real\""), grant("clocks = \"real\"\nrandom = \"real\"")),
        (grant("env = { LANG = \"C\" }\nconfig = { x = \"y\" }"), grant("")),
        (grant("env = { A = { request = \"R\" } }"), grant("config = { b = { request = \"R\" } }")),
        (
            format!("{SECRET}{}", grant("env = { A = { secret = \"K\" } }")),
            format!("[secrets]\nOTHER = {{ env = \"KEY\" }}\n{}", grant("env = { B = { secret = \"OTHER\" } }")),
        ),
        (grant("sockets = \"closed\"\ncalls = [\"text.*\"]\napproval = \"never\""), grant("approval = \"required\"")),
    ] {
        assert!(below(&own, &above).is_ok(), "{own}\n{above}\n{:?}", below(&own, &above));
    }
}

#[test]
fn what_does_not_is_named() {
    let get = |url: &str, more: &str| network(&format!("{{ url = \"{url}\", methods = [\"GET\"]{more} }}"));
    let header = |name: &str, source: &str| {
        let rule = format!("headers = {{ x = {{ secret = \"{name}\" }} }}");
        format!("[secrets]\n{name} = {{ {source} }}\n{}", get("https://a.test/*", &format!(", {rule}")))
    };
    for (own, above, said) in [
        (
            grant(""),
            "[[grant]]\nskills = [\"c\"]\ntools = [\"*\"]".to_owned(),
            "no grant of the policy names the skill `a`",
        ),
        (folder("{workspace}", "read-only"), grant(""), "the folder `{workspace}` (read-only)"),
        (folder("{workspace}", "read-write"), folder("{workspace}", "read-only"), "(read-write)"),
        (folder("{workspace}", "read-only"), folder("{workspace}/a", "read-only"), "the folder `{workspace}`"),
        (folder("{workspace}/ab", "read-only"), folder("{workspace}/a", "read-only"), "the folder `{workspace}/ab`"),
        (folder("/etc", "read-only"), folder("{workspace}", "read-write"), "the folder `/etc`"),
        (folder("/srv/database", "read-only"), folder("/srv/data", "read-only"), "the folder `/srv/database`"),
        (folder("/", "read-only"), folder("/srv", "read-write"), "the folder `/`"),
        (get("https://a.test/*", ""), grant(""), "`GET https://a.test/*`"),
        (get("https://a.test/*", ""), get("https://b.test/*", ""), "`GET https://a.test/*`"),
        (get("http://a.test/*", ""), get("https://a.test/*", ""), "`GET http://a.test/*`"),
        (get("https://*.test/*", ""), get("https://a.test/*", ""), "`GET https://*.test/*`"),
        (
            network("{ url = \"https://a.test/*\", methods = [\"GET\", \"POST\"] }"),
            get("https://a.test/*", ""),
            "`GET, POST https://a.test/*`",
        ),
        (
            get("http://10.0.0.1/*", ", addresses = [\"10.0.0.0/8\"]"),
            get("http://10.0.0.1/*", ", addresses = [\"10.0.0.1/32\"]"),
            "`GET http://10.0.0.1/*`",
        ),
        (header("K", "env = \"KEY\""), get("https://a.test/*", ""), "`GET https://a.test/*`"),
        (header("K", "env = \"KEY\""), header("K", "env = \"OTHER\""), "`GET https://a.test/*`"),
        (header("K", "file = \"/k\""), header("K", "file = \"/l\""), "`GET https://a.test/*`"),
        (grant("clocks = \"real\""), grant(""), "real clocks"),
        (grant("random = \"real\""), grant(""), "real random bytes"),
        (
            format!("{SECRET}{}", grant("env = { A = { secret = \"K\" } }")),
            grant("env = { A = \"x\" }"),
            "the secret `K`",
        ),
        (format!("{SECRET}{}", grant("config = { A = { secret = \"K\" } }")), grant(""), "the secret `K`"),
        (grant("env = { A = { request = \"R\" } }"), grant("env = { A = { request = \"S\" } }"), "the variable `R`"),
    ] {
        let why = below(&own, &above).expect_err(&format!("{own}\n{above}"));
        assert!(why.contains(said) && why.contains("the operator's policy"), "{said}: {why}");
    }
}

#[test]
fn the_document_as_a_whole_is_held_against_the_operators() {
    let hook = "[approval]\nwebhook = \"https://a.test/x\"\n";
    let told = |url: &str| format!("[approval]\nnetwork = [{{ url = \"{url}\", methods = [\"POST\"] }}]\n");
    for (own, above, said) in [
        ("[network]\ndns = \"1.1.1.1:53\"\n", "", Some("DNS server")),
        ("[network]\ndns = \"1.1.1.1:53\"\n", "[network]\ndns = \"1.1.1.1:53\"\n", None),
        ("[network]\nroots = { file = \"/ca\" }\n", "", Some("root certificates")),
        ("\n[network]\nroots = { file = \"/ca\" }\n", "[network]\nroots = { file = \"/ca\" }\n", None),
        (hook, "", Some("tells a server")),
        (hook, hook, None),
        (&told("https://a.test/*"), &told("https://a.test/x/*"), Some("lets plans tell")),
        (&told("https://a.test/x/*"), &told("https://a.test/*"), None),
        ("[audit]\nlevel = \"minimal\"\n", "", Some("hides")),
        ("[audit]\nlevel = \"minimal\"\n", "[audit]\nlevel = \"minimal\"\n", None),
        ("[audit]\nretention_days = 1\n", "[audit]\nretention_days = 2\n", Some("how long")),
    ] {
        let found = below(&format!("{own}{}", grant("")), &format!("{above}{}", grant("")));
        match said {
            None => assert!(found.is_ok(), "{own} {found:?}"),
            Some(said) => assert!(found.as_ref().is_err_and(|why| why.contains(said)), "{own}: {found:?}"),
        }
    }
}

#[test]
fn more_or_less_is_the_stricter_of_both() {
    let own = format!("[limits]\nfuel = 9\nhost_calls = 5\n[run]\nsteps = 3\nattempts = 4\n{}", grant(""));
    let above =
        format!("[limits]\nfuel = 7\nhost_calls = 6\n[run]\nsteps = 4\nfuel = 100\nattempts = 2\n{}", grant(""));
    let given = below(&own, &above).unwrap();
    assert_eq!((given.limits.fuel, given.limits.host_calls), (7, 5));
    let ceiling = Arc::new(Ceiling { policy: read(&above), text: String::new() });
    let policy = read(&own).under(ceiling, "").unwrap();
    let run = RunBudget { steps: Some(3), fuel: Some(100), attempts: Some(2), ..RunBudget::default() };
    assert_eq!(policy.run, run);
    // What the operator does not speak of is as it was.
    let ceiling = Arc::new(Ceiling { policy: read(&grant("")), text: String::new() });
    assert_eq!(read(&own).under(ceiling, "").unwrap().run.attempts, Some(4));
}
