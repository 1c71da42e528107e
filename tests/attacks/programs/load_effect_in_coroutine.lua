-- must: unpublished spec.effect_while_loading
-- The same from a coroutine of its own.
coroutine.wrap(function() Log.info("loading") end)()
return Spell.create { run = function() end }
