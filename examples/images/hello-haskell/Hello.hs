-- A task in a language that no Airflow worker has: it greets the name in NAME_TO_GREET.
module Main (main) where

import System.Environment (lookupEnv)
import System.Exit (exitWith, ExitCode (ExitFailure))
import System.IO (hPutStrLn, stderr)

main :: IO ()
main = do
  name <- lookupEnv "NAME_TO_GREET"
  case name of
    Just who | not (null who) -> putStrLn ("Hello, " ++ who)
    _ -> do
      hPutStrLn stderr "Set the environment variable NAME_TO_GREET to the name to greet."
      exitWith (ExitFailure 2)
