-- Asks twice, one after the other.
return Spell.create {
  name  = "test_input_required_result_multi_round",
  input = {},

  run = function(_, ctx)
    local first = ctx:ask {
      name    = "step1",
      message = "Step 1: What is your name?",
      schema  = { name = Schema.string "" },
    }
    local second = ctx:ask {
      name    = "step2",
      message = "Step 2: What is your favorite color?",
      schema  = { color = Schema.string "" },
    }
    return ("Multi-round complete for %s who likes %s"):format(first.name, second.color)
  end,
}
