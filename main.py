from source_meetings.run import run

if __name__ == "__main__":
    run()
