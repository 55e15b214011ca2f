//! Stories of `lint` and `explain`.

use expect_test::expect;

use super::environment::{ETCD, environment};

const SERVICE: &str = "apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector:
    app: web
  ports:
    - port: 80
      targetPort: http
  typ: NodePort
";

#[test]
fn a_manifest_is_shown_with_the_line_that_is_wrong() {
    let environment = environment(ETCD);
    environment.write("manifests/web.yaml", SERVICE);
    environment.check(
        &["lint", "manifests"],
        &expect![[r#"
            exit code 2
            --- stdout
            1 document: 2 errors, 0 warnings
            --- stderr
            service-selector

              × Service web selects no pod: app=web
               ╭─[<root>/cluster/manifests/web.yaml:6:3]
             5 │ spec:
             6 │   selector:
               ·   ─────────
             7 │     app: web
               ╰────
              help: there are no pods in the namespace default
            unknown-field

              × Service has no field spec.typ
                ╭─[<root>/cluster/manifests/web.yaml:11:3]
             10 │       targetPort: http
             11 │   typ: NodePort
                ·   ─────────────
                ╰────
              help: an API server drops it or rejects the object: remove it, or move it to the right place
        "#]],
    );
}

#[test]
fn a_directory_without_manifests_is_wrong_input() {
    environment(ETCD).check(
        &["lint", "manifests"],
        &expect![[r#"
        exit code 2
        --- stderr
        error: cannot read <root>/cluster/manifests: No such file or directory (os error 2)
    "#]],
    );
}

#[test]
fn a_check_that_does_not_exist_is_wrong_input() {
    environment(ETCD).check(
        &["explain", "M999", "--json"],
        &expect![[r#"
        exit code 2
        --- stdout
        {
          "causes": [],
          "error": "there is no check `M999`",
          "hints": [
            "`machinist explain` lists them"
          ]
        }
    "#]],
    );
}
