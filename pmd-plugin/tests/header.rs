//! The C header against its copy in Rust: the C compiler prints sizes and offsets of everything.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use pmd_plugin::abi;

/// Compiles `text` strictly, as C (or C++, by the file's name), and gives what the program prints.
fn compile_and_run(compiler: &str, file: &str, text: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let (source, program) = (directory.path().join(file), directory.path().join("program"));
    std::fs::write(&source, text).unwrap();
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    let compiled = Command::new(compiler)
        .args(["-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror", "-I"])
        .args([&include, Path::new("-o"), &program, &source])
        .output()
        .unwrap_or_else(|error| panic!("cannot start {compiler}: {error}"));
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let ran = Command::new(&program).output().unwrap();
    assert!(ran.status.success());
    String::from_utf8(ran.stdout).unwrap()
}

#[test]
fn c_and_rust_agree_on_every_size_and_offset() {
    let mut program = "#include <pmd.h>\n#include <stdio.h>\nint main(void)\n{\n".to_owned();
    let mut expected = String::new();
    for (name, size, fields) in abi::LAYOUT {
        writeln!(program, "    printf(\"{name} %zu\\n\", sizeof(struct {name}));").unwrap();
        writeln!(expected, "{name} {size}").unwrap();
        for (field, offset) in *fields {
            writeln!(program, "    printf(\"{name}.{field} %zu\\n\", offsetof(struct {name}, {field}));").unwrap();
            writeln!(expected, "{name}.{field} {offset}").unwrap();
        }
    }
    let constants: [(&str, usize); 11] = [
        ("PMD_ABI_VERSION", abi::ABI_VERSION as usize),
        ("PMD_BURST_MAX", pmd_core::BURST_MAX),
        ("PMD_TEXT_MAX", abi::TEXT_MAX),
        ("PMD_XSTATS_MAX", abi::XSTATS_MAX),
        ("PMD_HEADROOM", pmd_core::pool::HEADROOM),
        ("PMD_NEEDS_POOL", abi::NEEDS_POOL as usize),
        ("PMD_OPTION_BOOL", abi::kind::BOOL as usize),
        ("PMD_OPTION_INT", abi::kind::INT as usize),
        ("PMD_OPTION_TEXT", abi::kind::TEXT as usize),
        ("PMD_OPTION_CHOICE", abi::kind::CHOICE as usize),
        ("PMD_OPTION_MAC", abi::kind::MAC as usize),
    ];
    for (name, value) in constants {
        writeln!(program, "    printf(\"{name} %zu\\n\", (size_t){name});").unwrap();
        writeln!(expected, "{name} {value}").unwrap();
    }
    program.push_str("    return 0;\n}\n");
    assert_eq!(compile_and_run("cc", "layout.c", &program), expected);
}

#[test]
fn no_field_of_the_header_is_missing_in_rust() {
    // A field that Rust forgot at a structure's end would change its size; one in the middle, an offset. What is left is
    // that both say the same number of structures.
    let header = include_str!("../include/pmd.h");
    let in_c = header.lines().filter(|line| line.starts_with("struct pmd_") && line.ends_with('{')).count();
    assert_eq!(in_c, abi::LAYOUT.len());
}

#[test]
fn the_inline_functions_keep_data_inside_the_buffer() {
    let program = r#"
#include <pmd.h>
#include <stdio.h>
int main(void)
{
    static uint8_t bytes[256];
    struct pmd_mbuf head = { .buffer = bytes, .room = 256, .offset = 128, .segments = 1 };
    struct pmd_mbuf tail = { .buffer = bytes, .room = 256, .offset = 128, .segments = 1 };
    printf("%d\n", pmd_mbuf_set_received(&head, 129, 7));
    printf("%d\n", pmd_mbuf_set_received(&head, 100, 7));
    printf("%d\n", pmd_mbuf_prepend(&head, 129) == NULL);
    printf("%d\n", pmd_mbuf_prepend(&head, 28) == bytes + 100);
    printf("%d\n", pmd_mbuf_append(&head, 29) == NULL);
    printf("%d\n", pmd_mbuf_append(&head, 28) == bytes + 228);
    pmd_mbuf_set_received(&tail, 10, 0);
    printf("%d\n", pmd_mbuf_chain(&head, &tail));
    printf("%u %u %u %u\n", head.packet_len, head.len, head.segments, head.port);
    tail.segments = UINT16_MAX;
    printf("%d\n", pmd_mbuf_chain(&head, &tail));
    printf("%u %u\n", pmd_mbuf_headroom(&head), pmd_mbuf_tailroom(&head));
    return 0;
}
"#;
    let printed = compile_and_run("cc", "inline.c", program);
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(lines, ["0", "1", "1", "1", "1", "1", "1", "166 156 2 7", "0", "100 0"]);
}

#[test]
fn the_header_is_cplusplus_too() {
    let program = "#include <pmd.h>\nstatic const pmd_driver *init(const pmd_host *) { return nullptr; }\n\
                   extern \"C\" { PMD_EXPORT(init); }\nint main() { return pmd_plugin.abi_version == 1 ? 0 : 1; }\n";
    compile_and_run("c++", "driver.cc", program);
}
