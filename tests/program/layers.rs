//! The rooms of src/ import downward only, and only node/ extends the node.
//!
//! The order is in src/lib.rs and in docs/explanation/architecture.md. The test reads paths that begin with
//! `crate::` in code that is not a test: a room may use the rooms of the lines below its own, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms, from the bottom up. Rooms of one line do not use each other.
const LAYERS: &[&[&str]] = &[
    &["model"],
    &["wire", "net", "config", "durable"],
    &["state_dir", "transport"],
    &["session"],
    &["discovery", "registry", "publish", "files"],
    &["api"],
    &["transfer"],
    &["compat", "remote", "lookup"],
    &["settings"],
    &["node", "client", "doctor"],
    &["cli"],
    &["main", "lib"],
];

/// Rooms that read the configuration. Every other room gets settings of its own from `settings`.
const READ_CONFIG: &[&str] = &["settings", "node", "client", "doctor", "cli"];

/// What is pure: no runtime, no socket, no clock, no lock, no randomness of its own.
const PURE: &[&str] = &[
    "model/name.rs",
    "model/address.rs",
    "model/labels.rs",
    "model/rate_limiter.rs",
    "model/record.rs",
    "wire",
    "discovery",
    "registry/table",
    "publish/plan.rs",
    "publish/intent.rs",
    "publish/claim",
    "node/core",
    "node/core.rs",
    "doctor/diagnose",
];

/// What a pure part must not name.
const IMPURE: &[&str] = &[
    "tokio::",
    "std::net::UdpSocket",
    "std::net::TcpStream",
    "Instant::now",
    "SystemTime::now",
    "getrandom::",
    "std::sync::Mutex",
    "std::fs",
];

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every source file below a directory, with its path below `src`.
fn sources(directory: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let name = path.strip_prefix(src()).unwrap().to_str().unwrap();
            found.push((name.to_owned(), fs::read_to_string(&path).unwrap()));
        }
    }
}

/// Whether a file holds tests alone.
fn is_test(path: &str) -> bool {
    let parts = path.trim_end_matches(".rs").split('/');
    parts.into_iter().any(|part| {
        part == "tests" || part.ends_with("_tests") || part == "simulation" || part == "fixture"
    })
}

/// The code of a file without comments and without the tests at its end.
fn code(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len());
    let lines = text[..end].lines();
    lines
        .filter(|line| !line.trim_start().starts_with("//"))
        .fold(String::new(), |code, line| code + line + "\n")
}

fn program() -> Vec<(String, String)> {
    let mut found = Vec::new();
    sources(&src(), &mut found);
    found.retain(|(path, _)| !is_test(path));
    found.sort();
    assert!(found.len() > 150, "only {} files were found", found.len());
    found
        .into_iter()
        .map(|(path, text)| (path, code(&text)))
        .collect()
}

/// The room that a file belongs to: the first part of its path below `src`.
fn room(path: &str) -> &str {
    path.split('/').next().unwrap().trim_end_matches(".rs")
}

/// The rooms that a piece of code names by `crate::room` or `crate::{room, …}`.
fn used(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let word = |text: &str| {
            text.chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                .collect::<String>()
        };
        match rest.strip_prefix('{') {
            Some(group) => {
                let group = group.split(';').next().unwrap_or_default();
                rooms.extend(group.split(',').map(|part| word(part.trim())));
            }
            None => {
                rooms.insert(word(rest));
            }
        }
    }
    rooms.retain(|room| LAYERS.iter().any(|layer| layer.contains(&room.as_str())));
    rooms
}

#[test]
fn imports_point_downward_only() {
    let level = |room: &str| LAYERS.iter().position(|layer| layer.contains(&room));
    let mut upward = BTreeMap::new();
    for (path, code) in program() {
        let own = room(&path);
        let own_level =
            level(own).unwrap_or_else(|| panic!("src/{path} is in no room of this test"));
        for other in used(&code).into_iter().filter(|other| other != own) {
            if level(&other).is_none_or(|other| other >= own_level) {
                upward.insert(path.clone(), other);
            }
        }
    }
    assert!(
        upward.is_empty(),
        "these files use a room beside or above them: {upward:#?}"
    );
}

#[test]
fn only_rooms_above_the_settings_read_the_configuration() {
    let reads = |(path, code): &(String, String)| {
        room(path) != "config"
            && !READ_CONFIG.contains(&room(path))
            && used(code).contains("config")
    };
    let readers: Vec<_> = program()
        .into_iter()
        .filter(reads)
        .map(|(path, _)| path)
        .collect();
    assert!(
        readers.is_empty(),
        "these files read the configuration: {readers:#?}"
    );
}

#[test]
fn the_node_is_extended_in_its_own_room_alone() {
    let extends = |(_, code): &(String, String)| {
        code.lines()
            .any(|line| line.starts_with("impl Node ") || line.starts_with("impl Node{"))
    };
    let rooms: BTreeSet<_> = program()
        .iter()
        .filter(|file| extends(file))
        .map(|(path, _)| room(path).to_owned())
        .collect();
    assert_eq!(rooms, BTreeSet::from(["node".to_owned()]));
}

#[test]
fn pure_parts_name_no_runtime_socket_clock_or_lock() {
    let mut impure = Vec::new();
    let mut seen = BTreeSet::new();
    for (path, code) in program() {
        let Some(part) = PURE
            .iter()
            .find(|part| path == **part || path.starts_with(&format!("{part}/")))
        else {
            continue;
        };
        seen.insert(*part);
        for word in IMPURE.iter().filter(|word| code.contains(**word)) {
            impure.push(format!("src/{path}: {word}"));
        }
    }
    assert!(impure.is_empty(), "{impure:#?}");
    assert!(
        seen.len() + 3 >= PURE.len(),
        "parts that do not exist: {PURE:?}, found {seen:?}"
    );
}

#[test]
fn every_room_is_in_the_library_and_on_the_page_of_the_architecture() {
    let library = fs::read_to_string(src().join("lib.rs")).unwrap();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/explanation/architecture.md");
    let page = fs::read_to_string(page).unwrap();
    for room in LAYERS
        .iter()
        .flat_map(|layer| layer.iter())
        .filter(|room| !["main", "lib"].contains(room))
    {
        assert!(
            library.contains(&format!("mod {room};")),
            "src/lib.rs does not declare {room}"
        );
        assert!(
            page.contains(&format!("`{room}`")),
            "the page does not name `{room}`"
        );
    }
    let declared = library
        .lines()
        .filter_map(|line| line.trim().strip_suffix(';')?.split("mod ").nth(1));
    for room in declared {
        assert!(
            LAYERS.iter().any(|layer| layer.contains(&room)),
            "{room} is in no layer of this test"
        );
    }
}

/// The source files by the path of their module, `a::b` for `src/a/b.rs` and `src/a/b/mod.rs`.
type Modules = BTreeMap<Vec<String>, String>;

fn modules() -> Modules {
    let path = |file: &str| {
        let mut parts: Vec<_> = file
            .trim_end_matches(".rs")
            .split('/')
            .map(str::to_owned)
            .collect();
        if parts.last().is_some_and(|last| last == "mod") {
            parts.pop();
        }
        parts
    };
    let files = program()
        .into_iter()
        .filter(|(file, _)| file != "lib.rs" && file != "main.rs");
    files.map(|(file, code)| (path(&file), code)).collect()
}

/// The `use` declarations of a piece of code without spaces and braces, each with whether it is a re-export.
fn declarations(code: &str) -> Vec<(bool, Vec<String>)> {
    let mut found = Vec::new();
    let mut before = "";
    for (index, part) in code.split("use ").enumerate() {
        if index > 0
            && let Some((tree, _)) = part.split_once(';')
        {
            let line = before.rsplit('\n').next().unwrap_or_default().trim();
            let is_export = line.starts_with("pub");
            if line.is_empty() || is_export {
                let tree = tree
                    .lines()
                    .map(|line| line.split(" as ").next().unwrap_or_default().trim());
                let tree: String = tree.collect::<String>().replace(' ', "");
                for path in expanded(&tree) {
                    found.push((is_export, path.split("::").map(str::to_owned).collect()));
                }
            }
        }
        before = part;
    }
    found
}

/// `a::{b,c::{d,e}}` as its paths.
fn expanded(tree: &str) -> Vec<String> {
    let Some(open) = tree.find('{') else {
        return vec![tree.to_owned()];
    };
    let inner = tree[open + 1..]
        .strip_suffix('}')
        .unwrap_or(&tree[open + 1..]);
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for letter in inner.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(letter);
    }
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    parts
        .flat_map(|part| expanded(&format!("{}{part}", &tree[..open])))
        .collect()
}

/// The module in which a path of a module ends, and the name in it.
fn place(
    modules: &Modules,
    from: &[String],
    path: &[String],
) -> Option<(Vec<String>, Option<String>)> {
    let mut module = match path.first()?.as_str() {
        "crate" => Vec::new(),
        "self" => from.to_vec(),
        "super" => {
            from[..from.len() - path.iter().take_while(|part| *part == "super").count()].to_vec()
        }
        _ => from.to_vec(),
    };
    let rest = path
        .iter()
        .skip_while(|part| ["crate", "self", "super"].contains(&part.as_str()));
    let mut rest = rest.peekable();
    while let Some(part) = rest.peek() {
        let next: Vec<_> = module.iter().cloned().chain([(*part).clone()]).collect();
        if !modules.contains_key(&next) {
            break;
        }
        module = next;
        rest.next();
    }
    let is_own = !["crate", "self", "super"].contains(&path.first()?.as_str()) && module == from;
    (!is_own).then(|| (module, rest.next().cloned()))
}

#[test]
fn files_import_each_other_in_no_circle_larger_than_a_module_and_its_children() {
    let modules = modules();
    let mut exports = BTreeMap::new();
    for (module, code) in &modules {
        for (_, path) in declarations(code)
            .into_iter()
            .filter(|(is_export, _)| *is_export)
        {
            if let Some((target, Some(name))) = place(&modules, module, &path) {
                exports.insert((module.clone(), name), target);
            }
        }
    }
    let mut edges: BTreeMap<&Vec<String>, BTreeSet<Vec<String>>> = BTreeMap::new();
    for (module, code) in &modules {
        let targets = edges.entry(module).or_default();
        for (_, path) in declarations(code)
            .into_iter()
            .filter(|(is_export, _)| !is_export)
        {
            let Some((mut target, name)) = place(&modules, module, &path) else {
                continue;
            };
            // A name that is re-exported is of the module that defines it.
            for _ in 0..4 {
                let key = name.clone().map(|name| (target.clone(), name));
                match key.and_then(|key| exports.get(&key)) {
                    Some(origin) => target = origin.clone(),
                    None => break,
                }
            }
            if target != *module && modules.contains_key(&target) {
                targets.insert(target);
            }
        }
    }
    let arrows: usize = edges.values().map(BTreeSet::len).sum();
    assert!(arrows > 500, "only {arrows} imports were read");
    let reached = |from: &Vec<String>| {
        let mut seen = BTreeSet::new();
        let mut open = vec![from.clone()];
        while let Some(module) = open.pop() {
            for next in &edges[&module] {
                if seen.insert(next.clone()) {
                    open.push(next.clone());
                }
            }
        }
        seen
    };
    let reach: BTreeMap<_, _> = modules
        .keys()
        .map(|module| (module, reached(module)))
        .collect();
    let mut circles = BTreeSet::new();
    for (module, seen) in &reach {
        let circle: BTreeSet<_> = seen
            .iter()
            .filter(|other| reach[other].contains(*module))
            .collect();
        let Some(top) = circle.iter().min_by_key(|path| path.len()) else {
            continue;
        };
        let is_family = circle
            .iter()
            .all(|path| path == top || path[..path.len() - 1] == ***top);
        if !is_family {
            circles.insert(
                circle
                    .iter()
                    .map(|path| path.join("::"))
                    .collect::<Vec<_>>()
                    .join(" "),
            );
        }
    }
    assert!(
        circles.is_empty(),
        "these files import each other in a circle: {circles:#?}"
    );
}
