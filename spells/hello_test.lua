describe("hello", function()
  local hello

  before_each(function()
    hello = spell "hello"
  end)

  it("greets whom it is told to", function()
    expect(hello:cast { name = "Ada" }).to_equal "Hello, Ada!"
  end)

  it("greets the world otherwise", function()
    expect(hello:cast {}).to_equal "Hello, world!"
  end)

  it("wants a name that is a text", function()
    expect(function()
      hello:cast { name = 7 }
    end).to_fail "input.invalid"
  end)
end)
