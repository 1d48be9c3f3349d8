-- wrk's script: sends one kind of request, checks every answer, and prints one line of JSON.
-- Arguments: METHOD STATUS TEXT, where TEXT must be in every answer's body.
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  wrk.method = args[1]
  expected, text = tonumber(args[2]), args[3]
  if args[1] == "POST" then
    wrk.headers["Content-Type"] = "application/json"
    wrk.body = '{"title": "Monthly report", "description": "Collect the figures of November",'
      .. ' "type": "noop"}'
  end
  right, wrong = 0, 0
end

function response(status, headers, body)
  if status == expected and string.find(body, text, 1, true) then
    right = right + 1
  else
    wrong = wrong + 1
  end
end

function done(summary, latency, requests)
  local right, wrong = 0, 0
  for _, thread in ipairs(threads) do
    right = right + thread:get("right")
    wrong = wrong + thread:get("wrong")
  end
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.timeout
  local shown = {}
  for _, percent in ipairs({50, 75, 90, 95, 99, 99.9}) do
    table.insert(shown, string.format('"%s": %.4f', percent, latency:percentile(percent) / 1000))
  end
  io.write(string.format(
    '\nRESULT {"right": %d, "wrong": %d, "failed": %d, "seconds": %.4f, "milliseconds": {%s}}\n',
    right, wrong, failed, summary.duration / 1e6, table.concat(shown, ", ")))
end
