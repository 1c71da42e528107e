-- must: unpublished spec.effect_while_loading
-- Casts before anybody has cast it.
Spell.get("vault"):cast {}
return Spell.create { run = function() end }
