// A scenario program's input and output: cells in the environment, and a line of JSON for each on standard output.

export const HELLO = "Say hello.";
export const GOODBYE = "Now say goodbye.";
// The model says a few words before it calls the tool, as Claude does.
export const WEATHER = "What is the weather in 'Paris'? [[tokens_out=40]]";
export const TRIP = "Plan a trip to 'Paris' of 3 days.";
export const LONG = "Tell a long story. [[chunks=40]] [[chunk_delay=0.03]]";
const PATIENCE = 90_000;

export const { GATEWAY_URL: url } = process.env;

/** The tool of every loop. It notes that it ran, and with what. */
export function weatherTool() {
  const seen = [];
  const run = ({ city }) => {
    seen.push(city);
    return `21 degrees in ${city}`;
  };
  return { seen, run };
}

/** Usage as every client is held to it: all that went in, the cache included, and all that came out. */
export const used = (input, output) => ({ input, output });

/** The sum of what several answers count, by the names that their API has for it. */
export const summed = (input, output, usages) =>
  used(...[input, output].map((name) => usages.reduce((sum, usage) => sum + usage[name], 0)));

const late = (cell) =>
  new Promise((_, reject) => setTimeout(() => reject(new Error(`${cell.scenario}: no end in sight`)), PATIENCE).unref());

/** Plays each cell that the environment names, and ends the process: a connection left open keeps nobody waiting. */
export async function play(scenarios) {
  for (const cell of JSON.parse(process.env.CELLS)) {
    let told;
    try {
      told = await Promise.race([scenarios[cell.scenario](cell), late(cell)]);
    } catch (error) {
      told = { error: `${error?.name}: ${error?.message ?? error}`.slice(0, 600) };
    }
    console.log(JSON.stringify({ id: cell.id, ...told }));
  }
  process.exit(0);
}
