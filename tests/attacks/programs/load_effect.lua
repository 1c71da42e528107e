-- must: unpublished spec.effect_while_loading
-- Acts before anybody has cast it.
State.shared.set("owned", true)
return Spell.create { run = function() end }
