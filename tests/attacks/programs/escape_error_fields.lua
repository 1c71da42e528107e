-- must: spell.raised
-- The error's fields are everything but texts.
return Spell.create { run = function(input, ctx)
  local problem = { message = { "no text" }, code = function() end, hint = coroutine.create(print), data = { f = print }, where = 5, run_id = {}, traceback = false }
  problem.self = problem
  error(problem)
end }
