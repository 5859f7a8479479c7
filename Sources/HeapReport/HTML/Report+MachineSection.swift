extension Report {
  var machineSection: Markup {
    let facts: [Markup] = machine.facts.map { "<dt>\($0.label)</dt><dd>\($0.value)</dd>\n" }
    let body: Markup = "<dl class=\"facts\">\n\(facts)</dl>\n\(options)"
    return Page.section("machine", "Machine", body)
  }

  private var options: Markup {
    guard let source = machine.optionsSource else {
      return """
        <p class="note">The kernel’s options are not known: neither /proc/config.gz nor \
        /boot/config-\(kernelRelease) can be read.</p>
        """
    }
    let options = machine.options.sorted { $0.key < $1.key }
    let items: [Markup] = options.map { name, value in
      let isSet = value != "n"
      return """
        <li\(isSet ? "" : Markup(trusted: " class=\"unset\""))><code>CONFIG_\(name)</code> \
        <b>\(isSet ? value : "not set")</b></li>

        """
    }
    return "<h3>Kernel options, from \(source)</h3>\n<ul class=\"options\">\n\(items)</ul>"
  }

  var repeatSection: Markup {
    Page.section(
      "repeat", "The same run again",
      """
      <p>The order of the checks and what they write follow from the seed:</p>
      <pre>heapctl verify --seed \(seed)</pre>
      <p>This file holds its data as JSON, which makes it any other format:</p>
      <pre>heapctl verify --from FILE.html --format json</pre>
      """)
  }
}
