-- Data of an id that is part of the address.
return Resource.create {
  name       = "template_data",
  template   = "test://template/{id}/data",
  title      = "Resource Template",
  media_type = "application/json",

  read = function(params)
    return { id = params.id, templateTest = true, data = "Data for ID: " .. params.id }
  end,
}
