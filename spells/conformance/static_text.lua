-- A text that is always the same.
return Resource.create {
  name       = "static_text",
  uri        = "test://static-text",
  title      = "Static Text Resource",
  media_type = "text/plain",

  read = function()
    return "This is the content of the static text resource."
  end,
}
