-- A prompt that is filled in with two texts; clients are helped to complete the first.
return Prompt.create {
  name      = "test_prompt_with_arguments",
  title     = "Prompt With Arguments",
  arguments = {
    arg1 = Schema.string("First test argument", {
      complete = function(value)
        local found = {}
        for _, word in ipairs { "paris", "park", "party", "test", "testing" } do
          if word:sub(1, #value) == value then
            found[#found + 1] = word
          end
        end
        return found
      end,
    }),
    arg2 = Schema.string "Second test argument",
  },
  messages  = "Prompt with arguments: arg1='{{input.arg1}}', arg2='{{input.arg2}}'",
}
