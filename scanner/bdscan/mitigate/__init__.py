"""Run-time mitigation: how robust a trigger is, which input transformation disturbs it, and a model guarded by one."""
