-- must: output.invalid | completed | spell.raised | spec.invalid | workflow.failed | workflow.unknown_placeholder | input.invalid
-- Steps whose names are paths, forms and each other.
return Spell.create { run = function(input, ctx)
  local echo = function(run) return { ["$kind"] = "ref", name = "vault", previous = run.previous } end
  return Workflow.sequential {
    { name = "results", spell = Spell.create { name = "a", run = function() return { ["$content"] = "x" } end } },
    { name = "input.x", spell = Spell.create { name = "b", run = function() return { __class__ = 1 } end } },
    { name = "$kind", spell = Spell.create { name = "c", run = echo } },
  }:cast {}
end }
