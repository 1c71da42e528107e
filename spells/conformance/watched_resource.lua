-- A text that clients may subscribe to.
return Resource.create {
  name       = "watched_resource",
  uri        = "test://watched-resource",
  title      = "Watched Resource",
  media_type = "text/plain",

  read = function()
    return "Watched resource content"
  end,
}
