-- Brief a reader on a topic: two researchers work side by side, an editor writes.

local scholar = Agent.create {
  name   = "scholar",
  system = "You know the scientific literature. Answer in three sentences, plainly.",
}

local analyst = Agent.create {
  name   = "analyst",
  system = "You know markets and figures. Answer in three sentences, plainly.",
}

local editor = Agent.create {
  name   = "editor",
  system = "You write briefs of one page: a headline, then short paragraphs. No jargon.",
}

return Spell.create {
  name        = "research_brief",
  description = "Research a topic from two sides at once and write a one-page brief about it.",
  input       = { topic = Schema.string "What the brief is about" },
  read_only   = true,

  workflow = Workflow.sequential {
    Workflow.parallel {
      name     = "research",
      branches = {
        papers = { agent = scholar, prompt = "What does research say about {{input.topic}}?" },
        market = { agent = analyst, prompt = "Who uses {{input.topic}}, and what for?" },
      },
    },
    {
      name   = "brief",
      agent  = editor,
      prompt = "Write a brief about {{input.topic}}.\n\n"
        .. "Research:\n{{results.research.papers}}\n\nUse:\n{{results.research.market}}",
    },
  },
}
