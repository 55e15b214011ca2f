# Tracing.
lib: rec {
  info = msg: builtins.trace "INFO: ${msg}";
  traceIf = pred: msg: x: if pred then builtins.trace msg x else x;
  traceVal = traceValFn lib.id;
  traceValFn = f: x: builtins.trace (f x) x;
  traceSeq = x: y: builtins.trace (builtins.deepSeq x x) y;
  traceValSeq = traceValSeqFn lib.id;
  traceValSeqFn = f: v: traceSeq (f v) v;
  showWarnings = warnings: res: lib.foldr (w: x: lib.warn w x) res warnings;
}
