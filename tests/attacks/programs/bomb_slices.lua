-- must: limit.cpu_time
-- Gives way in time, again and again, and computes between.
return Spell.create { run = function()
  while true do
    for i = 1, 3000000 do local _ = i * i end
    sleep(0)
  end
end }
