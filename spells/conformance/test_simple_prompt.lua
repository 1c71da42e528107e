-- A prompt without arguments.
return Prompt.create {
  name     = "test_simple_prompt",
  title    = "Simple Test Prompt",
  messages = "This is a simple prompt for testing.",
}
